//go:build unix

// Transfer shows the job that this module was made for: an acceptor does the
// handshake with a client, and a worker process goes on with the security context
// and the connection where the acceptor stopped.
//
//	cd examples && go run ./transfer
//
// It starts a Kerberos realm of its own, then an acceptor, two workers and three
// clients, each a process. The acceptor exports every established context and
// passes the token, and the TCP connection, to a worker over a Unix socket. Every
// step is checked; the exit status is 0 only if all was as it should be. The
// checks can be seen to fail with -break.
//
// The C library is the one that GSSAPI_LIBRARY names (mit, heimdal).
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Ways to break a promise on purpose, for -break.
const (
	breakKeep     = "keep"     // the acceptor uses a context that it has given away
	breakReimport = "reimport" // a worker forgets which tokens it has imported
	breakHang     = "hang"     // a worker does not answer
)

var breaks = []string{breakKeep, breakReimport, breakHang}

// options are the same in all processes of a run.
type options struct {
	role  string
	name  string
	mech  string
	addr  string
	count int
	limit time.Duration
	fault string
}

func main() {
	var o options
	flag.StringVar(&o.fault, "break", "", "break a promise, and see that it is noticed: "+strings.Join(breaks, ", "))
	flag.DurationVar(&o.limit, "limit", time.Minute, "give up after this `time`")
	// What follows is set by the program for its own processes.
	flag.StringVar(&o.role, "role", "", "internal: acceptor, worker or client")
	flag.StringVar(&o.name, "name", "", "internal: who this process is")
	flag.StringVar(&o.mech, "mech", "", "internal: the client's mechanism")
	flag.StringVar(&o.addr, "addr", "", "internal: where the acceptor listens")
	flag.IntVar(&o.count, "count", 0, "internal: how many workers, or clients, there are")
	flag.Parse()
	if flag.NArg() > 0 || o.fault != "" && !slices.Contains(breaks, o.fault) || o.limit <= 0 {
		flag.Usage()
		os.Exit(2)
	}
	if o.role != "" {
		os.Exit(child(o))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := direct(ctx, o); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("interrupted: %w", err)
		}
		fmt.Fprintf(os.Stderr, "transfer: %v\n", err)
		os.Exit(1)
	}
}

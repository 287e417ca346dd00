package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/seed2651813c/gss/examples/realm"
	"github.com/seed2651813c/gss/gssapi"
)

// try shows the server at work: a realm, an acceptor, its workers, and clients that
// come at the same time.
func try(o options) (err error) {
	r, err := realm.Start()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	// The realm's directory is this user's alone. The workers need the configuration:
	// MIT's tokens name it, and importing one reads it.
	dir, err := os.MkdirTemp("", "prefork")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	conf, err := os.ReadFile(os.Getenv("KRB5_CONFIG"))
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "krb5.conf")
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(file, conf, 0o644), os.Setenv("KRB5_CONFIG", file)); err != nil {
		return err
	}

	o.probe = strings.TrimPrefix(os.Getenv("KRB5_KTNAME"), "FILE:")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s, err := newServer(context.Background(), o)
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	const clients = 8
	var all [clients]chan error
	for i := range all {
		all[i] = make(chan error, 1)
		go func() { all[i] <- client(l.Addr(), fmt.Sprintf("hello number %d", i+1)) }()
	}
	for _, c := range all {
		err = errors.Join(err, <-c)
	}
	err = errors.Join(err, s.Shutdown(context.Background()))
	<-served
	fmt.Printf("%+v\n", s.Stats())
	return err
}

// client sends a line and prints the answer.
func client(addr net.Addr, line string) error {
	target, err := gssapi.HostService("host", realm.Host)
	if err != nil {
		return err
	}
	tcp, err := net.Dial("tcp", addr.String())
	if err != nil {
		return err
	}
	c := gssapi.Client(tcp, target, nil)
	defer c.Close()
	if _, err := fmt.Fprintln(c, line); err != nil {
		return err
	}
	answer, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return err
	}
	fmt.Print(answer)
	return nil
}

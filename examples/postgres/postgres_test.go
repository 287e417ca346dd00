package main

import (
	"bufio"
	"context"
	"crypto/md5"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/lib/pq"
	"github.com/seed2651813c/gss"
	"github.com/seed2651813c/gss/examples/realm"
	"github.com/seed2651813c/gss/gssapi"
	"github.com/seed2651813c/gss/gssapi/gsstest"
	"github.com/seed2651813c/gss/gssapi/pgauth"
)

// That the types fit.
var (
	_ pgconn.GSS       = (*pgauth.Provider)(nil)
	_ pq.GSS           = (*pgauth.Provider)(nil)
	_ pgconn.DialFunc  = (*pgauth.Dialer)(nil).DialContext
	_ pq.Dialer        = (*pgauth.Dialer)(nil)
	_ pq.DialerContext = (*pgauth.Dialer)(nil)
)

var (
	testRealm *gsstest.Realm
	server    *postgres
)

// provided are the options of the providers that the drivers get: both keep theirs for
// the process.
var provided atomic.Pointer[pgauth.Options]

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	l, err := gss.Library()
	if want := os.Getenv("GSS_REQUIRE_LIBRARY"); err == nil && want != "" && want != string(l.Kind) {
		err = fmt.Errorf("GSS_REQUIRE_LIBRARY is %q, and the library is %v", want, l)
	}
	if err == nil {
		testRealm, err = realm.Start()
	}
	if err == nil {
		defer testRealm.Close()
		server, err = startPostgres(testRealm)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer server.close()
	os.Setenv("KRB5RCACHENAME", "none:") // of the server in this process
	pgconn.RegisterGSSProvider(func() (pgconn.GSS, error) { return pgauth.New(provided.Load()), nil })
	pq.RegisterGSSProvider(func() (pq.GSS, error) { return pgauth.New(provided.Load()), nil })
	return m.Run()
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// drivers ask a server for what it says of their connection.
var drivers = map[string]func(context.Context, string, *pgauth.Dialer) (connection, error){"pgx": askPGX, "pq": askPQ}

// to dials addr, whatever it is asked for.
func to(addr string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}
}

// dialer connects to the server.
func dialer(mode pgauth.Mode, o pgauth.Options) *pgauth.Dialer {
	return &pgauth.Dialer{Mode: mode, Options: o, Connect: to(server.addr)}
}

// dsn is alice's for a database, with more words.
func dsn(database string, more ...string) string {
	return "host=" + realm.Host + " user=alice sslmode=disable dbname=" + database + " " + strings.Join(more, " ")
}

var (
	sealed = connection{"alice", "alice@TEST.GSS", true, true}
	named  = connection{"alice", "alice@TEST.GSS", true, false}
)

// Encrypted connections, to a server that takes no others.
func TestEncrypted(t *testing.T) {
	for driver, ask := range drivers {
		if c, err := ask(t.Context(), dsn("encrypted"), dialer(pgauth.Require, pgauth.Options{})); c != sealed || err != nil {
			t.Errorf("%s: %+v, %v", driver, c, err)
		}
		// Under a name of which the server has no key.
		for what, d := range map[string]*pgauth.Dialer{
			"host":    {Host: "other.test"},
			"service": {Host: "third.test", Service: "db"},
			"spn":     {SPN: "postgres/other.test@TEST.GSS"},
			"all":     {SPN: "postgres/other.test@TEST.GSS", Host: "nobody.test", Service: "nobody"},
		} {
			d.Connect = to(server.addr)
			if c, err := ask(t.Context(), strings.Replace(dsn("encrypted"), realm.Host, "alias.test", 1), d); c != sealed || err != nil {
				t.Errorf("%s, %s: %+v, %v", driver, what, c, err)
			}
		}
	}
}

// Authentication alone.
func TestProvider(t *testing.T) {
	d := dialer(pgauth.Disable, pgauth.Options{})
	for driver, ask := range drivers {
		for _, more := range []string{"", "krbsrvname=postgres", "krbspn=postgres/other.test@TEST.GSS"} {
			if c, err := ask(t.Context(), dsn("clear", more), d); c != named || err != nil {
				t.Errorf("%s, %q: %+v, %v", driver, more, c, err)
			}
		}
		for _, more := range []string{"krbsrvname=nobody", "krbspn=nobody/other.test@TEST.GSS"} {
			if c, err := ask(t.Context(), dsn("clear", more), d); err == nil || !strings.Contains(err.Error(), "nobody") {
				t.Errorf("%s, %q: %+v, %v", driver, more, c, err)
			}
		}
	}
}

// Who is not the user is not let in, encrypted or not.
func TestAnotherUser(t *testing.T) {
	for driver, ask := range drivers {
		for database, mode := range map[string]pgauth.Mode{"encrypted": pgauth.Require, "clear": pgauth.Disable} {
			c, err := ask(t.Context(), strings.Replace(dsn(database), "alice", "bob", 1), dialer(mode, pgauth.Options{}))
			if err == nil || !strings.Contains(err.Error(), `failed for user "bob"`) {
				t.Errorf("%s, %s: %+v, %v", driver, database, c, err)
			}
		}
	}
}

// What the Modes make of servers that encrypt and of those that do not.
func TestModes(t *testing.T) {
	no := middle(t, func(client, server net.Conn) {
		request := make([]byte, 8)
		if _, err := io.ReadFull(client, request); err == nil {
			client.Write([]byte("N"))
			pass(client, server)
		}
	})
	old := middle(t, func(client, server net.Conn) { // as PostgreSQL 11
		b := make([]byte, 8)
		if io.ReadFull(client, b); string(b[4:]) == "\x04\xd2\x16\x30" {
			client.Write([]byte("ESFATAL\x00Munsupported frontend protocol\x00\x00"))
			return
		}
		server.Write(b)
		pass(client, server)
	})
	other := middle(t, func(client, server net.Conn) {
		client.Read(make([]byte, 8))
		client.Write([]byte("HTTP/1.1 400 Bad Request\r\n"))
	})
	for _, tt := range []struct {
		what, addr string
		mode       pgauth.Mode
		database   string
		want       connection
		err        string
	}{
		{"a server that does", server.addr, pgauth.Require, "postgres", sealed, ""},
		{"a server that does", server.addr, pgauth.Prefer, "postgres", sealed, ""},
		{"a server that does", server.addr, pgauth.Disable, "postgres", named, ""},
		{"a server that insists", server.addr, pgauth.Disable, "encrypted", connection{}, "no encryption"},
		{"a server that may not", server.addr, pgauth.Require, "clear", connection{}, "GSS encryption"},
		{"a server that may not", server.addr, pgauth.Prefer, "clear", connection{}, "GSS encryption"},
		{"a server that cannot", no, pgauth.Require, "postgres", connection{}, "does not encrypt by GSS-API"},
		{"a server that cannot", no, pgauth.Prefer, "postgres", named, ""},
		{"an old server", old, pgauth.Require, "postgres", connection{}, "knows no encryption by GSS-API"},
		{"an old server", old, pgauth.Prefer, "postgres", named, ""},
		{"no PostgreSQL", other, pgauth.Require, "postgres", connection{}, "is it PostgreSQL?"},
		{"no such mode", server.addr, 7, "postgres", connection{}, "7 is no Mode"},
	} {
		for driver, ask := range drivers {
			c, err := ask(t.Context(), dsn(tt.database), &pgauth.Dialer{Mode: tt.mode, Connect: to(tt.addr)})
			if c != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: %s, mode %d: %+v, %v, want %q", driver, tt.what, tt.mode, c, err, tt.err)
			}
		}
	}
	for driver, ask := range drivers { // a handshake that fails
		d := &pgauth.Dialer{Mode: pgauth.Prefer, Connect: to(server.addr), SPN: "postgres/nobody.test@TEST.GSS"}
		if c, err := ask(t.Context(), dsn("postgres"), d); c != named || err != nil {
			t.Errorf("%s: mode Prefer, to a service that is not known: %+v, %v", driver, c, err)
		}
	}
	_, err := (&pgauth.Dialer{Connect: func(context.Context, string, string) (net.Conn, error) {
		one, two := net.Pipe()
		two.Close()
		return one, nil
	}}).Dial("unix", "/nonexistent/.s.PGSQL.5432")
	if err == nil || !strings.Contains(err.Error(), "set Mode to Disable") {
		t.Errorf("a unix socket: %v", err)
	}
}

// middle is somebody between a client and the server; it returns where to reach him.
func middle(t *testing.T, handle func(client, server net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	var all sync.WaitGroup
	t.Cleanup(func() { l.Close(); all.Wait() })
	all.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer client.Close()
				server, err := net.Dial("tcp", server.addr)
				if err != nil {
					t.Error(err)
					return
				}
				defer server.Close()
				handle(client, server)
			})
		}
	})
	return l.Addr().String()
}

// pass passes everything on, both ways, until either end has enough.
func pass(client, server net.Conn) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(server, client)
		server.Close()
	}()
	io.Copy(client, server)
	client.Close()
	<-done
}

// Tickets that are not there, or no more; services that are not the server's; a KDC
// that does not answer. Of the errors a person can tell what to do.
func TestRefused(t *testing.T) {
	none := "FILE:" + t.TempDir() + "/none"
	short, err := testRealm.Kinit("alice", &gsstest.KinitOptions{Lifetime: time.Second})
	check(t, err)
	cred, err := gssapi.Acquire(t.Context(), &gssapi.CredentialOptions{CCache: short, Usage: gssapi.Initiate})
	check(t, err)
	info, err := cred.Info(t.Context())
	check(t, err)
	fresh, err := testRealm.Kinit("alice", nil)
	check(t, err)
	<-time.After(time.Until(info.Expiry) + time.Second)
	expired := "expired"
	if l, err := gss.Library(); err == nil && l.Kind == gss.KindHeimdal {
		expired = "Matching credential not found" // it does not look at others
	}
	for _, tt := range []struct {
		what, ccache, host string
		kdc                bool
		want               string // in the error
	}{
		{"no ticket", none, realm.Host, true, "none"},
		{"an expired ticket", short, realm.Host, true, expired},
		{"a service that is not known", fresh, "nobody.test", true, "postgres/nobody.test"},
		{"a service whose key the server lacks", fresh, "stranger.test", true, "stranger.test"},
		{"no KDC", fresh, realm.Host, false, "KDC"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			t.Setenv("KRB5CCNAME", tt.ccache)
			if tt.host == "stranger.test" {
				check(t, testRealm.AddPrincipal("postgres/stranger.test"))
			}
			if !tt.kdc {
				check(t, testRealm.StopKDC())
				defer func() { check(t, testRealm.StartKDC()) }()
			}
			for driver, ask := range drivers {
				for database, mode := range map[string]pgauth.Mode{"encrypted": pgauth.Require, "clear": pgauth.Disable} {
					c, err := ask(t.Context(), strings.Replace(dsn(database), realm.Host, tt.host, 1), dialer(mode, pgauth.Options{}))
					want := tt.want
					if driver == "pq" && database == "clear" && tt.host == "stranger.test" {
						want = "GSSAPI authentication failed" // lib/pq does not look at what Continue says
					}
					if err == nil || !strings.Contains(err.Error(), want) {
						t.Errorf("%s, %s: %+v, %v, want %q", driver, database, c, err, want)
					}
				}
			}
		})
	}
}

// Each of several hosts is asked for by its own name; without KeepHost the Dialer says
// what it misses.
func TestHosts(t *testing.T) {
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	nobody.Close()
	var dialed []string
	d := &pgauth.Dialer{Connect: func(ctx context.Context, network, addr string) (net.Conn, error) {
		dialed = append(dialed, addr)
		if strings.HasPrefix(addr, realm.Host) {
			return to(nobody.Addr().String())(ctx, network, addr)
		}
		return to(server.addr)(ctx, network, addr)
	}}
	hosts := strings.Replace(dsn("encrypted"), realm.Host, realm.Host+",other.test", 1)
	for driver, ask := range drivers {
		dialed = nil
		if c, err := ask(t.Context(), hosts, d); c != sealed || err != nil {
			t.Errorf("%s: %+v, %v", driver, c, err)
		}
		if got := strings.Join(dialed, " "); got != "server.test:5432 other.test:5432" {
			t.Errorf("%s: dialed %s", driver, got)
		}
	}
	config, err := pgx.ParseConfig(dsn("encrypted"))
	check(t, err)
	config.DialFunc = dialer(pgauth.Require, pgauth.Options{}).DialContext
	config.LookupFunc = func(context.Context, string) ([]string, error) { return []string{"127.0.0.1"}, nil }
	if _, err := pgx.ConnectConfig(t.Context(), config); err == nil || !strings.Contains(err.Error(), "KeepHost") {
		t.Errorf("without KeepHost: %v", err)
	}
}

// connect is a connection of pgx.
func connect(t *testing.T, database string, d *pgauth.Dialer) *pgx.Conn {
	t.Helper()
	config, err := pgx.ParseConfig(dsn(database))
	check(t, err)
	config.DialFunc, config.LookupFunc = d.DialContext, pgauth.KeepHost
	c, err := pgx.ConnectConfig(t.Context(), config)
	check(t, err)
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

// waits waits until somebody waits for the lock.
func waits(t *testing.T, c *pgx.Conn, lock int) {
	t.Helper()
	for waiting := false; !waiting; {
		check(t, c.QueryRow(t.Context(), `SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND objid = $1 AND NOT granted`, lock).Scan(&waiting))
	}
}

// A query is cancelled, through the Dialer.
func TestCancel(t *testing.T) {
	const query = "57014" // query_canceled
	holder := connect(t, "encrypted", dialer(pgauth.Require, pgauth.Options{}))
	for lock := range 2 {
		_, err := holder.Exec(t.Context(), `SELECT pg_advisory_lock($1)`, lock)
		check(t, err)
	}
	t.Run("pgx", func(t *testing.T) {
		c := connect(t, "encrypted", dialer(pgauth.Require, pgauth.Options{}))
		ended := make(chan error, 1)
		go func() {
			_, err := c.Exec(t.Context(), `SELECT pg_advisory_lock(0)`)
			ended <- err
		}()
		waits(t, holder, 0)
		check(t, c.PgConn().CancelRequest(t.Context()))
		var e *pgconn.PgError
		if err := <-ended; !errors.As(err, &e) || e.Code != query {
			t.Error(err)
		}
		var one int
		if err := c.QueryRow(t.Context(), "SELECT 1").Scan(&one); err != nil { // it goes on
			t.Error(err)
		}
	})
	t.Run("pq", func(t *testing.T) {
		connector, err := pq.NewConnector(dsn("encrypted"))
		check(t, err)
		connector.Dialer(dialer(pgauth.Require, pgauth.Options{}))
		db := sql.OpenDB(connector)
		defer db.Close()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ended := make(chan error, 1)
		go func() {
			_, err := db.ExecContext(ctx, `SELECT pg_advisory_lock(1)`)
			ended <- err
		}()
		waits(t, holder, 1)
		cancel()
		if err := <-ended; err == nil {
			t.Error("it was not cancelled")
		}
		var waiting int // the server has ended it too
		check(t, holder.QueryRow(t.Context(), `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted`).Scan(&waiting))
		if waiting != 0 {
			t.Errorf("%d wait", waiting)
		}
	})
}

// lines are n lines of a mebibyte with a newline each, and their checksum.
type lines struct {
	n    int
	rest []byte
	sum  hash.Hash
	from *rand.ChaCha8
}

func newLines(n int) *lines { return &lines{n: n, sum: md5.New(), from: rand.NewChaCha8([32]byte{1})} }

func (l *lines) next() []byte {
	raw := make([]byte, 512<<10)
	l.from.Read(raw)
	line := append(hex.AppendEncode(nil, raw), '\n')
	l.sum.Write(line)
	l.n--
	return line
}

func (l *lines) Read(p []byte) (int, error) {
	if len(l.rest) == 0 {
		if l.n == 0 {
			return 0, io.EOF
		}
		l.rest = l.next()
	}
	n := copy(p, l.rest)
	l.rest = l.rest[n:]
	return n, nil
}

// uncompressed spares the server the work on long lines.
const uncompressed = "CREATE TEMP TABLE t (line text); ALTER TABLE t ALTER line SET STORAGE EXTERNAL"

// A hundred mebibytes there and back again, with pgx; less with lib/pq, which cannot
// copy them back.
func TestCopy(t *testing.T) {
	t.Run("pgx", func(t *testing.T) {
		const megabytes = 100
		c := connect(t, "encrypted", dialer(pgauth.Require, pgauth.Options{}))
		_, err := c.Exec(t.Context(), uncompressed)
		check(t, err)
		up := newLines(megabytes)
		tag, err := c.PgConn().CopyFrom(t.Context(), up, "COPY t FROM STDIN")
		if err != nil || tag.RowsAffected() != megabytes {
			t.Fatal(tag, err)
		}
		down := md5.New()
		if _, err := c.PgConn().CopyTo(t.Context(), down, "COPY t TO STDOUT"); err != nil {
			t.Fatal(err)
		}
		if got, want := down.Sum(nil), up.sum.Sum(nil); string(got) != string(want) {
			t.Errorf("%x came back, and %x was sent", got, want)
		}
	})
	t.Run("pq", func(t *testing.T) {
		const megabytes = 20
		connector, err := pq.NewConnector(dsn("encrypted"))
		check(t, err)
		connector.Dialer(dialer(pgauth.Require, pgauth.Options{}))
		db := sql.OpenDB(connector)
		defer db.Close()
		tx, err := db.BeginTx(t.Context(), nil)
		check(t, err)
		defer tx.Rollback()
		_, err = tx.Exec(uncompressed)
		check(t, err)
		in, err := tx.Prepare("COPY t FROM STDIN")
		check(t, err)
		up := newLines(megabytes)
		for up.n > 0 {
			_, err := in.Exec(strings.TrimSuffix(string(up.next()), "\n"))
			check(t, err)
		}
		_, err = in.Exec()
		check(t, err)
		check(t, in.Close())
		rows, err := tx.Query("SELECT line FROM t")
		check(t, err)
		defer rows.Close()
		down := md5.New()
		for rows.Next() {
			var line string
			check(t, rows.Scan(&line))
			io.WriteString(down, line+"\n")
		}
		check(t, rows.Err())
		if got, want := down.Sum(nil), up.sum.Sum(nil); string(got) != string(want) {
			t.Errorf("%x came back, and %x was sent", got, want)
		}
	})
}

// endless never ends; it tells when so much was read.
type endless struct {
	left int
	tell func()
}

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = "0123456\n"[i%8]
	}
	if before := e.left; before > 0 {
		if e.left -= len(p); e.left <= 0 {
			e.tell()
		}
	}
	return len(p), nil
}

func (e *endless) Write(p []byte) (int, error) { return e.Read(p) }

// A read or write that is broken off ends the connection, and the server sees no
// message that was damaged.
func TestBrokenOff(t *testing.T) {
	before := server.daemon.Log()
	for what, transfer := range map[string]func(context.Context, *pgconn.PgConn, *endless) (pgconn.CommandTag, error){
		"write": func(ctx context.Context, c *pgconn.PgConn, e *endless) (pgconn.CommandTag, error) {
			return c.CopyFrom(ctx, e, "COPY t FROM STDIN")
		},
		"read": func(ctx context.Context, c *pgconn.PgConn, e *endless) (pgconn.CommandTag, error) {
			return c.CopyTo(ctx, e, "COPY (SELECT repeat('x', 100), generate_series(1, 1000000000)) TO STDOUT")
		},
	} {
		c := connect(t, "encrypted", dialer(pgauth.Require, pgauth.Options{}))
		_, err := c.Exec(t.Context(), "CREATE TEMP TABLE t (line text)")
		check(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		_, err = transfer(ctx, c.PgConn(), &endless{4 << 20, cancel})
		if err == nil { // context.Canceled, or of the connection that pgx closes meanwhile
			t.Errorf("%s: no error", what)
		}
		<-c.PgConn().CleanupDone()
		if err := c.Ping(t.Context()); err == nil || !c.IsClosed() {
			t.Errorf("%s: the connection goes on: %v", what, err)
		}
	}
	// Both backends have ended when nobody else is there, and their log is written.
	watch := connect(t, "encrypted", dialer(pgauth.Require, pgauth.Options{}))
	for others := 1; others > 0; {
		check(t, watch.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_gssapi g JOIN pg_stat_activity USING (pid) WHERE g.encrypted AND pid <> pg_backend_pid()`).Scan(&others))
	}
	if log := strings.TrimPrefix(server.daemon.Log(), before); strings.Contains(log, "unwrap") || strings.Contains(log, "not received") {
		t.Errorf("the server's log:\n%s", log)
	}
}

// Many connections at once, through one Dialer.
func TestMany(t *testing.T) {
	d := dialer(pgauth.Require, pgauth.Options{})
	var all sync.WaitGroup
	for driver, ask := range drivers {
		for range 10 {
			all.Go(func() {
				if c, err := ask(t.Context(), dsn("encrypted"), d); c != sealed || err != nil {
					t.Errorf("%s: %+v, %v", driver, c, err)
				}
			})
		}
	}
	all.Wait()
}

// What somebody in the middle puts behind the server's answer is not taken for
// the server's.
func TestInjected(t *testing.T) {
	const fatal = "E\x00\x00\x00\x20SFATAL\x00C28000\x00Mgo elsewhere\x00\x00"
	for what, injected := range map[string]string{
		"an error":         fatal,
		"authentication":   "R\x00\x00\x00\x08\x00\x00\x00\x00",
		"a frame":          "\x00\x00\x00\x05hello",
		"an empty frame":   "\x00\x00\x00\x00",
		"one byte":         "\x00",
		"a frame too long": "\xff\xff\xff\xff",
	} {
		addr := middle(t, func(client, server net.Conn) {
			b := make([]byte, 8)
			io.ReadFull(client, b)
			server.Write(b)
			io.ReadFull(server, b[:1])
			client.Write(append(b[:1], injected...))
			pass(client, server)
		})
		for driver, ask := range drivers {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			c, err := ask(ctx, dsn("encrypted"), &pgauth.Dialer{Connect: to(addr)})
			cancel()
			if err == nil || !strings.Contains(err.Error(), "pgauth: ") || strings.Contains(err.Error(), "elsewhere") || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s, %s: %+v, %v", driver, what, c, err)
			}
		}
	}
	// Behind the handshake it is no message of the context's.
	addr := middle(t, func(client, server net.Conn) {
		first := make([]byte, 8)
		io.ReadFull(client, first)
		server.Write(first)
		go func() {
			io.Copy(server, client)
			server.Close()
		}()
		in := bufio.NewReader(server)
		io.CopyN(client, in, 1)
		head, err := in.Peek(4)
		if err != nil {
			return
		}
		token := make([]byte, 4+int(head[2])<<8+int(head[3]))
		io.ReadFull(in, token)
		client.Write(append(token, "\x00\x00\x00\x09R\x00\x00\x00\x08\x00\x00\x00\x00"...))
		io.Copy(client, in)
	})
	for driver, ask := range drivers {
		c, err := ask(t.Context(), dsn("encrypted"), &pgauth.Dialer{Connect: to(addr)})
		if !errors.Is(err, gssapi.ErrDefectiveToken) && !errors.Is(err, gssapi.ErrBadMIC) {
			t.Errorf("%s, behind the handshake: %+v, %v", driver, c, err)
		}
	}
}

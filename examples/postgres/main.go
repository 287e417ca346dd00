// Postgres logs in to PostgreSQL by Kerberos, with pgx and with lib/pq, over
// connections that GSS-API encrypts, and prints what the server says of them:
//
//	go run ./postgres -dsn "host=db.example.com user=alice dbname=app sslmode=disable"
//	go run ./postgres -try           with a realm and a server of its own
package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/lib/pq"
	"github.com/seed2651813c/gss/examples/realm"
	"github.com/seed2651813c/gss/gssapi/pgauth"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("postgres: ")
	dsn := flag.String("dsn", "sslmode=disable", "how to connect, in `words` of libpq")
	attempt := flag.Bool("try", false, "start a realm and a PostgreSQL server, and connect to that")
	flag.Parse()
	run := func() error { return both(*dsn, new(pgauth.Dialer)) }
	if *attempt {
		run = try
	}
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

// try connects to a server that lets in who is encrypted only.
func try() (err error) {
	r, err := realm.Start()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	p, err := startPostgres(r)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	return both("host="+realm.Host+" user=alice dbname=encrypted sslmode=disable", &pgauth.Dialer{
		// The host's name is known to the realm only.
		Connect: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", p.addr)
		},
	})
}

// both asks the server with either driver.
func both(dsn string, d *pgauth.Dialer) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, driver := range []struct {
		name string
		ask  func(context.Context, string, *pgauth.Dialer) (connection, error)
	}{{"pgx", askPGX}, {"lib/pq", askPQ}} {
		c, err := driver.ask(ctx, dsn, d)
		if err != nil {
			return fmt.Errorf("%s: %w", driver.name, err)
		}
		fmt.Printf("%s: user %s, authenticated as %s: %t, encrypted: %t\n", driver.name, c.user, c.principal, c.authenticated, c.encrypted)
	}
	return nil
}

// connection is what the server says of one.
type connection struct {
	user, principal          string
	authenticated, encrypted bool // by GSS-API
}

const question = `SELECT user, coalesce(principal, 'nobody'), gss_authenticated, encrypted
	FROM pg_stat_gssapi WHERE pid = pg_backend_pid()`

func askPGX(ctx context.Context, dsn string, d *pgauth.Dialer) (c connection, err error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return c, err
	}
	config.DialFunc, config.LookupFunc = d.DialContext, pgauth.KeepHost
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return c, err
	}
	defer conn.Close(ctx)
	err = conn.QueryRow(ctx, question).Scan(&c.user, &c.principal, &c.authenticated, &c.encrypted)
	return c, err
}

func askPQ(ctx context.Context, dsn string, d *pgauth.Dialer) (c connection, err error) {
	connector, err := pq.NewConnector(dsn)
	if err != nil {
		return c, err
	}
	connector.Dialer(d)
	db := sql.OpenDB(connector)
	defer db.Close()
	err = db.QueryRowContext(ctx, question).Scan(&c.user, &c.principal, &c.authenticated, &c.encrypted)
	return c, err
}

// Package pgauth connects to PostgreSQL by GSS-API, with
// github.com/jackc/pgx/v5 and github.com/lib/pq, neither of which it imports.
//
// There are two ways. An encrypted connection (hostgssenc in pg_hba.conf) is
// authenticated too, and needs no TLS:
//
//	d := &pgauth.Dialer{}
//	config, err := pgx.ParseConfig("host=db.example.com user=alice sslmode=disable")
//	config.DialFunc, config.LookupFunc = d.DialContext, pgauth.KeepHost
//
//	connector, err := pq.NewConnector("host=db.example.com user=alice sslmode=disable")
//	connector.Dialer(d)
//
// Authentication alone (host or hostssl, with the method gss) is for connections that
// TLS protects:
//
//	pgconn.RegisterGSSProvider(func() (pgconn.GSS, error) { return pgauth.New(nil), nil })
//	pq.RegisterGSSProvider(func() (pq.GSS, error) { return pgauth.New(nil), nil })
//
// Prefer the Dialer. Of the other way you must know: lib/pq (1.12) ignores that the
// server could not prove who it is, which no provider can help; pgx (5.12) asks for
// the first of several hosts when it has gone on to the next one.
package pgauth

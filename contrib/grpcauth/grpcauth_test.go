package grpcauth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/seed2651813c/gss"
	"github.com/seed2651813c/gss/gssapi"
	"github.com/seed2651813c/gss/gssapi/gsstest"
)

const alice = "alice@TEST.GSS"

var realm *gsstest.Realm

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	l, err := gss.Library()
	if want := os.Getenv("GSS_REQUIRE_LIBRARY"); err == nil && want != "" && want != string(l.Kind) {
		err = fmt.Errorf("GSS_REQUIRE_LIBRARY is %q, and the library is %v", want, l)
	}
	if err == nil {
		realm, err = gsstest.Start(&gsstest.Options{Principals: []string{"alice", "bob", "grpc/server.test", "grpc/other.test"}})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer realm.Close()
	ccache, err := realm.Kinit("alice", nil)
	keytab, e := realm.Keytab("grpc/server.test")
	if err = errors.Join(err, e); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for _, kv := range append(realm.EnvFor(ccache, keytab), "KRB5RCACHENAME=none:", "HOME="+realm.Dir()) {
		k, v, _ := strings.Cut(kv, "=")
		os.Setenv(k, v)
	}
	return m.Run()
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// health tells who asks, in the place of how it is.
type health struct {
	grpc_health_v1.UnimplementedHealthServer
	infos chan *AuthInfo
}

func (h *health) Check(ctx context.Context, _ *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	info := FromContext(ctx)
	if info == nil {
		return nil, status.Error(codes.Unauthenticated, "nobody")
	}
	h.infos <- info
	return new(grpc_health_v1.HealthCheckResponse), nil
}

func (h *health) Watch(_ *grpc_health_v1.HealthCheckRequest, stream grpc_health_v1.Health_WatchServer) error {
	for range 3 {
		if err := stream.Send(new(grpc_health_v1.HealthCheckResponse)); err != nil {
			return err
		}
	}
	<-stream.Context().Done()
	return stream.Context().Err()
}

// listener remembers what was sent over its connections.
type listener struct {
	net.Listener
	mu   sync.Mutex
	sent bytes.Buffer
}

type tap struct {
	net.Conn
	l *listener
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return tap{c, l}, nil
}

func (c tap) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	c.l.sent.Write(p[:n])
	return n, err
}

func serve(t *testing.T, o *ServerOptions) (*health, *listener) {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	l := &listener{Listener: tcp}
	h := &health{infos: make(chan *AuthInfo, 100)}
	s := grpc.NewServer(grpc.Creds(NewServer(o)))
	grpc_health_v1.RegisterHealthServer(s, h)
	done := make(chan struct{})
	go func() {
		s.Serve(l)
		close(done)
	}()
	t.Cleanup(func() {
		s.Stop()
		<-done
	})
	return h, l
}

func dial(t *testing.T, l net.Listener, o *ClientOptions, more ...grpc.DialOption) grpc_health_v1.HealthClient {
	t.Helper()
	more = append([]grpc.DialOption{grpc.WithTransportCredentials(NewClient(o)), grpc.WithAuthority("server.test:443")}, more...)
	conn, err := grpc.NewClient(l.Addr().String(), more...)
	check(t, err)
	t.Cleanup(func() { conn.Close() })
	return grpc_health_v1.NewHealthClient(conn)
}

func TestCall(t *testing.T) {
	for _, protection := range []gssapi.Protection{gssapi.Private, gssapi.Integrity} {
		o := &gssapi.ConnOptions{Protection: protection}
		h, l := serve(t, &ServerOptions{Conn: o})
		c := dial(t, l, &ClientOptions{Conn: o})
		var p peer.Peer
		_, err := c.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: "who can read this?"}, grpc.Peer(&p))
		check(t, err)
		info := <-h.infos
		server := FromPeer(&p)
		level := credentials.PrivacyAndIntegrity
		if protection == gssapi.Integrity {
			level = credentials.IntegrityOnly
		}
		if info.Peer().String() != alice || info.Local || info.SecurityLevel != level || info.AuthType() != "gssapi" {
			t.Errorf("%v, %v", info.Peer(), info.SecurityLevel)
		}
		if !strings.HasPrefix(server.Peer().String(), "grpc/server.test@") || !server.Local || server.SecurityLevel != level {
			t.Errorf("%v, %v", server.Peer(), server.SecurityLevel)
		}
		l.mu.Lock()
		clear := bytes.Contains(l.sent.Bytes(), []byte("who can read this?"))
		l.mu.Unlock()
		if clear != (protection == gssapi.Integrity) {
			t.Errorf("%v, and the request is readable: %v", protection, clear)
		}
	}
}

// Many calls and streams over few connections, and their ends.
func TestConcurrent(t *testing.T) {
	h, l := serve(t, nil)
	go func() {
		for range h.infos {
		}
	}()
	var wait sync.WaitGroup
	for range 4 {
		c := dial(t, l, nil)
		for range 50 {
			wait.Go(func() {
				if _, err := c.Check(t.Context(), new(grpc_health_v1.HealthCheckRequest)); err != nil {
					t.Error(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				stream, err := c.Watch(ctx, new(grpc_health_v1.HealthCheckRequest))
				for n := 0; n < 3 && err == nil; n++ {
					_, err = stream.Recv()
				}
				if err != nil {
					t.Error(err)
					return
				}
				cancel()
				if _, err := stream.Recv(); status.Code(err) != codes.Canceled {
					t.Error(err)
				}
			})
		}
	}
	wait.Wait()
	close(h.infos)
}

func TestRefused(t *testing.T) {
	for what, test := range map[string]struct {
		o    *ClientOptions
		dial []grpc.DialOption
		text string
	}{
		"no such service":     {o: &ClientOptions{Service: "nothing"}, text: "nothing/server.test"},
		"no such host":        {dial: []grpc.DialOption{grpc.WithAuthority("nowhere.test")}, text: "grpc/nowhere.test"},
		"another host's key":  {dial: []grpc.DialOption{grpc.WithAuthority("other.test")}, text: "handshake failed"},
		"weaker than wanted":  {o: &ClientOptions{Conn: &gssapi.ConnOptions{Protection: gssapi.Integrity}}, text: ""},
		"a server's":          {dial: []grpc.DialOption{grpc.WithTransportCredentials(NewServer(nil))}, text: "use NewClient"},
		"a name that is none": {dial: []grpc.DialOption{grpc.WithAuthority("")}, o: &ClientOptions{Service: "a@b"}, text: ""},
	} {
		t.Run(what, func(t *testing.T) {
			_, l := serve(t, nil)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err := dial(t, l, test.o, test.dial...).Check(ctx, new(grpc_health_v1.HealthCheckRequest))
			if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), test.text) {
				t.Errorf("%v, without %q", err, test.text)
			}
		})
	}
}

// A handshake ends with its ctx, and a server is not held by who says nothing.
func TestHandshakeEnds(t *testing.T) {
	x, y := net.Pipe()
	defer y.Close()
	go io.Copy(io.Discard, y)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, _, err := NewClient(nil).ClientHandshake(ctx, "server.test:1", x)
		done <- err
	}()
	cancel()
	err := <-done
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if !err.(interface{ Temporary() bool }).Temporary() {
		t.Error("it is permanent")
	}
	x, y = net.Pipe()
	defer y.Close()
	check(t, x.SetDeadline(time.Unix(1, 0)))
	if _, _, err := NewServer(nil).ServerHandshake(x); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	if _, err := x.Write(nil); !errors.Is(err, io.ErrClosedPipe) {
		t.Error("the connection is open:", err)
	}
	if _, _, err := NewClient(nil).ServerHandshake(nil); err == nil {
		t.Error("a client serves")
	}
	_, _, err = NewClient(&ClientOptions{Service: "nothing"}).ClientHandshake(t.Context(), "server.test", y)
	if err == nil {
		t.Error("it is accepted")
	}
}

func TestOverride(t *testing.T) {
	a := NewClient(nil)
	check(t, a.OverrideServerName("other.test"))
	b := a.Clone()
	check(t, a.OverrideServerName("third.test"))
	if a.Info().ServerName != "third.test" || b.Info().ServerName != "other.test" || b.Info().SecurityProtocol != "gssapi" {
		t.Errorf("%+v, %+v", a.Info(), b.Info())
	}
	h, l := serve(t, nil)
	c := NewClient(nil)
	check(t, c.OverrideServerName("server.test"))
	_, err := dial(t, l, nil, grpc.WithTransportCredentials(c), grpc.WithAuthority("server.test")).Check(t.Context(), new(grpc_health_v1.HealthCheckRequest))
	check(t, err)
	<-h.infos
}

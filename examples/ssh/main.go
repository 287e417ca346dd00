// Ssh is an SSH server and a client that log in by Kerberos (gssapi-with-mic), on
// a realm that the program starts for itself:
//
//	go run ./ssh                 both, and what they say
//	go run ./ssh -serve          the server alone: it prints how to come in with OpenSSH
package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"time"

	"github.com/seed2651813c/gss/examples/realm"
	"github.com/seed2651813c/gss/gssapi"
	"github.com/seed2651813c/gss/gssapi/sshauth"
	"golang.org/x/crypto/ssh"
)

func main() {
	log.SetFlags(0)
	alone := flag.Bool("serve", false, "run the server until it is interrupted")
	flag.Parse()
	if err := run(*alone); err != nil {
		log.Fatal("ssh: ", err)
	}
}

func run(alone bool) (err error) {
	r, err := realm.Start()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	s, err := newServer(context.Background())
	if err != nil {
		return err
	}
	go s.serve(l)
	_, port, _ := net.SplitHostPort(l.Addr().String())
	if alone {
		fmt.Printf("KRB5_CONFIG=%s KRB5CCNAME=%s \\\n  ssh -F none -o GSSAPIAuthentication=yes -o GSSAPIServerIdentity=%s \\\n  -o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no -p %s alice@127.0.0.1 whoami\n",
			os.Getenv("KRB5_CONFIG"), os.Getenv("KRB5CCNAME"), realm.Host, port)
		interrupted, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		<-interrupted.Done()
		return nil
	}
	return client(l.Addr().String(), s.host)
}

// client logs in as alice, and as somebody else, which the server refuses.
func client(addr string, host ssh.PublicKey) error {
	for _, user := range []string{"alice", "bob"} {
		out, err := whoami(addr, user, host)
		switch {
		case user == "alice" && err != nil:
			return err
		case user == "alice":
			fmt.Printf("client: the server says: %s", out)
		case err == nil:
			return fmt.Errorf("the server lets alice in as %s", user)
		default:
			fmt.Printf("client: as %s: %v\n", user, err)
		}
	}
	return nil
}

func whoami(addr, user string, host ssh.PublicKey) ([]byte, error) {
	c, err := ssh.Dial("tcp", addr, &ssh.ClientConfig{
		User:            user,
		Auth:            []ssh.AuthMethod{ssh.GSSAPIWithMICAuthMethod(sshauth.NewClient(nil), realm.Host)},
		HostKeyCallback: ssh.FixedHostKey(host),
	})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	s, err := c.NewSession()
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return s.Output("whoami")
}

// server answers every command with who the client is.
type server struct {
	config ssh.ServerConfig
	host   ssh.PublicKey
	cred   *gssapi.Credential
}

func newServer(ctx context.Context) (*server, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return nil, err
	}
	s := &server{host: signer.PublicKey()}
	s.config.AddHostKey(signer)
	s.cred, err = gssapi.Acquire(ctx, &gssapi.CredentialOptions{Usage: gssapi.Accept})
	return s, err
}

func (s *server) serve(l net.Listener) {
	for {
		tcp, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer tcp.Close()
			if err := s.handle(tcp); err != nil {
				fmt.Printf("server: %v\n", err)
			}
		}()
	}
}

func (s *server) handle(tcp net.Conn) error {
	var about string
	config, state := sshauth.ForConn(&s.config, &sshauth.ServerOptions{Credential: s.cred}, func(c *ssh.ServerConfig, state *sshauth.Server) {
		c.GSSAPIWithMICConfig = &ssh.GSSAPIWithMICConfig{Server: state, AllowLogin: func(m ssh.ConnMetadata, name string) (*ssh.Permissions, error) {
			// A real server asks state.MayLogIn. Here users have the names of principals.
			if name != m.User()+"@TEST.GSS" {
				return nil, fmt.Errorf("%s may not log in as %s", name, m.User())
			}
			i, err := state.Context().Info()
			if err != nil {
				return nil, err
			}
			about = fmt.Sprintf("you are %s, until %s, delegated a credential: %t\n", name, i.Expiry.Format(time.RFC3339), state.Context().Delegated() != nil)
			return nil, nil
		}}
	})
	defer state.Close()
	tcp.SetDeadline(time.Now().Add(time.Minute))
	conn, channels, requests, err := ssh.NewServerConn(tcp, config)
	if err != nil {
		return err
	}
	defer conn.Close()
	go ssh.DiscardRequests(requests)
	for c := range channels {
		if c.ChannelType() != "session" {
			c.Reject(ssh.UnknownChannelType, "there are sessions only")
			continue
		}
		channel, requests, err := c.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer channel.Close()
			for r := range requests {
				run := r.Type == "exec" || r.Type == "shell"
				r.Reply(run, nil)
				if run {
					bytes.NewBufferString(about).WriteTo(channel)
					channel.SendRequest("exit-status", false, make([]byte, 4))
					return
				}
			}
		}()
	}
	return nil
}

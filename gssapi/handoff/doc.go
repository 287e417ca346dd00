// Package handoff hands a connection, with its established security context, from
// the process that has authenticated the client to another one on the same host.
// So the process that holds the keytab need not be the one that parses what
// clients send: gss_export_sec_context is made for that (RFC 2743, 2.2.8). The
// client notices nothing.
//
// A [Server] accepts, authenticates, starts workers and hands over to them; a
// [Worker] is the other side of it. Programs that have processes of their own use
// what these are made of: a [Sender] and a [Receiver], the two ends of a session
// over a socket of the unix domain.
//
//	conn, theirs, err := handoff.Pair()        // theirs goes to the other process,
//	key := handoff.NewKey()                    // and so does the key, through a pipe
//	s, err := handoff.NewSender(ctx, conn, &handoff.Options{Key: key})
//	...
//	h, err := handoff.FromConn(authenticated)  // a *gssapi.Conn after its handshake
//	err = s.Send(ctx, h)                       // returns when the other end has it
//
// and there
//
//	r, err := handoff.NewReceiver(ctx, conn, &handoff.ReceiverOptions{Options: handoff.Options{Key: key}})
//	for {
//		got, err := r.Receive(ctx)
//		...
//		go serve(got.Conn(nil), got.Peer())    // goes on where the other process stopped
//	}
//
// # At most once
//
// The receiver is told first whose connection it is ([Meta]), and refuses it or
// keeps a place for it; nothing has happened to the context then. After that the
// context is exported, which empties it here, sent with the descriptor, imported,
// compared with what was announced, and acknowledged. A context that was exported
// and not acknowledged is lost ([ErrLost]), and its client is cut off: the token is
// not sent again, for it might have been imported. [Counts] tells what became of
// each. A receiver goes on with what it has when the sender has died, and the other
// way about.
//
// # Who may do what
//
// An exported token is the keys of a session, and the C libraries do not check
// it: who can read it can take the connection over, and who can change it can crash
// the importer or worse. So
//
//   - messages are sealed (AES-256-GCM, with keys of the session and direction made
//     of the [Key] by HKDF), and only the next message of the session is taken: what
//     is cut, changed, repeated, reordered, reflected, or of another session or
//     version ends the session with [ErrMessage] before C sees a byte of it;
//   - a context comes with one descriptor, that of the very socket that was
//     announced; too many, too few and others are closed;
//   - on Linux the kernel tells with every message which user sent it
//     (SCM_CREDENTIALS), and only those of [Options] are taken ([ErrPeer]). Other
//     systems do not tell: there the key alone decides;
//   - both ends must use the same GSS-API library, by its build-id ([ErrLibrary]);
//     and the receiver of a context of MIT's must be able to read the krb5.conf
//     files that the token names, and what those include, or refuses before the
//     export;
//   - names, flags, mechanism, expiry and role of the imported context are compared
//     with what was announced, for what [ReceiverOptions].Admit has seen is to be
//     what comes;
//   - what a session keeps of a token or credential is overwritten at both ends.
//
// Who has the key and the socket and is the expected user is trusted: a sender
// gives its receiver tokens, which are trusted input to C, and a receiver has the
// clients that it was given. It cannot have others, nor make the sender do anything
// but count. The processes of one user can read each other's memory in any case.
//
// # Limits
//
// A delegated credential stays, unless [Handoff].SendDelegated is set. TLS state
// cannot be handed over. GNU gss exports no contexts: Send is ErrUnavailable, and
// the context is kept. Sessions are for Unix systems; elsewhere the package builds
// and answers with errors.ErrUnsupported.
package handoff

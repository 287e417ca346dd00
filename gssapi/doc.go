// Package gssapi is the system's GSS-API (Kerberos) for Go programs: MIT,
// Heimdal, GNU gss or GSS.framework, whichever is there at run time.
//
// Two ends establish a [Context] by exchanging tokens, and then protect
// messages with it:
//
//	target, err := gssapi.HostService("echo", "server.example.com")
//	c := gssapi.NewInitiator(target, nil)
//	for token := []byte(nil); !c.Established(); {
//		out, err := c.Step(ctx, token)
//		// send out if it is not empty, even with an error;
//		// stop on an error; else receive token if not established
//	}
//	sealed, err := c.Wrap([]byte("hello"))
//
// The other end does the same with [NewAcceptor]. A context that is established
// can be handed to another process: [Context.Export] there, [Import] here; only
// one of them ever holds it. Package handoff does that with connections.
//
// # Options
//
// Options are pointers to structs; nil is allowed, and zero values are the safe
// ones. They are copied: a change after the call has no effect. What an
// initiator asked for, and what an acceptor requires, is checked before a context
// counts as established.
//
// # Errors
//
// Errors are [*Error] and match the Err constants with errors.Is:
//
//	if errors.Is(err, gssapi.ErrNoCred) { ... }
//
// ErrUnavailable, what a library or this build cannot do, is
// errors.ErrUnsupported too. Texts are complete: they have the mechanism's own
// message, with the principal or the file at fault. They never hold a password,
// a key or a token.
//
// # Concurrency
//
// Everything here is safe for concurrent use. One name and one credential serve
// thousands of calls at once. Calls on one context are made one after the other,
// as RFC 2744 wants it; a message's place in the sequence is that of its call.
//
// Close never waits, and pulls nothing from under a call: what is in use is
// released when the last call that uses it is back. What a Step that is under way
// brings is discarded then, other calls end as if they had come first. After
// Close every method answers with an error and does not call C.
//
// The environment is one for the process: a C library that reads it while
// os.Setenv writes it crashes. Set KRB5_CONFIG, KRB5CCNAME and the like before
// the first call, or say in options what they would.
//
// # Ownership
//
// Close is optional everywhere: what is unreachable is released by the garbage
// collector. Close early what there is much of.
//
// # Blocking
//
// The C calls that may ask a KDC block for up to a minute if it is dead, and
// cannot be interrupted. Methods that make them take a context.Context and return
// when it is done, although C has not: what the call brings in the end is
// released. So that such calls do not take all threads there is a limit for each
// kind of them, see [Limits]; [ReadStats] counts them. With a context.Context that
// cannot end, such as context.Background, a call is made by the goroutine of its
// caller.
//
// # Streams
//
// A [Conn] is a net.Conn that encrypts: [Client] and [Server] make one. [Trace]
// has hooks for logs and metrics.
//
// # Channel bindings
//
// Bindings tie a context to the TLS connection that its tokens go over: who relays
// them through another connection is refused. [TLSExporter], [TLSServerEndPoint]
// and [TLSUnique] make them; both ends make the same, and give them as Bindings in
// their options. Bindings of other channels are a [ChannelBindings] with
// ApplicationData of their own, or with addresses (RFC 2744, 3.11).
//
// # Beyond RFC 2744
//
// Credentials come from files that are named, are stored, exported, and made for
// others: [CredentialOptions], [AcquireKrb5], [Credential.Store],
// [Credential.CopyToCCache], [Credential.Export], [Credential.Impersonate].
// Messages are protected in place and in parts: [Context.WrapInPlace],
// [Context.AppendWrapAEAD], [Context.WrapIOV]. A context makes keys and tells its
// own, and what the ticket of its peer says: [Context.PseudoRandom],
// [Context.SessionKey], [Context.PAC]. Names have attributes and stand for local
// users: [Name.Attribute], [Name.LocalName], [Name.MayLogIn]. What a library cannot
// do is ErrUnavailable, and the comments say of each call which ones can.
package gssapi

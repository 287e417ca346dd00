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
// one of them ever holds it.
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
// Everything here is safe for concurrent use. Names and credentials serve many
// calls at once. Calls on one context are made one after the other. Close never
// waits (but with GNU gss, whose calls come one after the other); what a Step
// that is under way brings is discarded, other calls end as if they had come
// first.
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
// cannot be interrupted. Methods that make them take a context.Context and look
// at it before and after the call.
package gssapi

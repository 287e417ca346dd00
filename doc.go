// Package gss is the thin layer over the system's GSS-API library: it speaks
// the words of RFC 2744, one Go function or method per C function, and adds
// what C leaves to discipline: handles that cannot be used after release,
// bytes that cross without pinning, complete errors, and release by the
// collector of what was never released.
//
// Programs import package gssapi, which is built on this one. Import this
// package to choose the library ([Load], [LoadAt], [Library]) or to make a
// call that gssapi does not have.
//
// # The library
//
// The C library is opened with dlopen when it is first needed. See [Load] for
// the order in which it is looked for. A program that is built without cgo, or
// for Windows, compiles, and every call answers an error that is
// [ErrUnavailable].
//
// # Concurrency
//
// Everything here is safe for concurrent use. A [Name], a [Cred] and a
// [Buffer] may be used by many calls at once. Calls on one [Ctx] are made one
// after the other (RFC 2744 has no concurrent calls on a context). Release and
// Delete never wait for a call that is under way: the handle is released when
// that call is back.
//
// The environment is one for the process: a C library that reads it while
// os.Setenv writes it crashes. Set KRB5_CONFIG, KRB5CCNAME and the like before
// the first call, or say in options what they would.
//
// # Ownership
//
// Whoever gets a Name, Cred, Ctx or Buffer owns it. Releasing it is optional:
// what is unreachable is released by the garbage collector. Bytes given to a
// call are only read while it runs, unless its comment says otherwise.
//
// # Fork
//
// A process that runs Go must not fork without exec: the child would have one
// thread and the locks of all others. Transfer a context to another program
// with [Ctx.Export] and [ImportSecContext].
package gss

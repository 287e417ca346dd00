// Package cservice is a C service that has a part written in Go. Security contexts,
// names and credentials go over from C to Go and come back: as handles within one
// process, and as exported contexts between two.
//
//	server.c   links libgssapi and accepts in C. A thread for each client gives the
//	           context to Go, which serves him with gssapi.Conn and gives it back:
//	           the last words are C's. The name and the credential that it accepts
//	           with come from Go.
//	goserver   the part in Go, built with -buildmode=c-archive or c-shared
//	front      an acceptor in Go ...
//	worker.c   ... and its worker in C: each imports what the other one exported
//	Makefile   how all this is built, with AddressSanitizer and for valgrind too
//
// The tests run all of it, on MIT and Heimdal:
//
//	make test
//	GSSAPI_LIBRARY=heimdal make test
//
// # Handles in one process
//
// Call gss.LoadAt first, with the address of gss_wrap as the C code has it:
//
//	goserver_load((void *)gss_wrap, ...)
//
// From then on Go uses the library that C uses, and there is one in the process;
// GSSAPI_LIBRARY counts no more. Without LoadAt Go takes what GSSAPI_LIBRARY says, or
// else what it finds in the process, and Adopt is an error if that leaves any doubt
// about whose a handle is.
//
// Adopt, AdoptName and AdoptCredential take a handle over. On an error it is C's as
// before. Else C must not use it until Detach has given it back, which waits for the
// calls that are under way; the Go object is of no use from then on. So goserver_serve
// takes what C has in a struct, and has all of it back there when it returns, after
// an error and after a panic too; what is gone is NULL.
//
// An exported function
//
//   - takes handles as void *, which they are in every library: the Go code needs no
//     header of GSS-API, and is the same for MIT and Heimdal;
//   - returns a major status, and a text for logs in memory of C;
//   - recovers from panics. One that gets out of it ends the process, and so does one
//     in a goroutine without a recover of its own;
//   - is in the only file with import "C", which has no other code: export.go.
//
// Who a client is gssapi.Context.Info tells best. The name that C got from a context
// of SPNEGO prints the same, but compares as unequal to the same name from elsewhere
// (MIT 1.20, Heimdal 7.8), and exports to other bytes (MIT).
//
// # The connection
//
// C keeps its descriptor, and Go works on a duplicate, which it closes. Two things the
// duplicates have in common. Go makes the connection non-blocking: it is made blocking
// again before C has it back, or C must wait with poll when it reads EAGAIN, as
// worker.c does with connections that Go goes on to use. And who reads ahead takes
// bytes that the other one waits for: gssapi.Conn does, so in this protocol the client
// says no more after the end of his stream until C has spoken.
//
// # Contexts between processes
//
// A token of gssapi.Context.Export is what gss_import_sec_context takes, and the other
// way round. It has the session's keys in clear, the libraries trust it blindly, and
// it is good for one import: front and worker have a socket pair that was made before
// the worker was started, and overwrite the tokens. (Package transfer, beside this one,
// has both ends in Go.)
//
// # Threads, signals, fork
//
// Any thread of C may call into Go, and many at once. The thread is blocked until the
// call returns; goroutines that were started go on.
//
// The Go runtime starts threads of its own as soon as the archive or the shared object
// is loaded, which is before main if the program is linked with it. It has handlers for
// SIGSEGV, SIGBUS, SIGFPE, SIGPIPE and SIGURG (the last is for its own use), passes on
// what is not of Go to those that were there before, and leaves other signals alone
// until Go code calls os/signal.Notify. A signal may come to a thread that runs Go code,
// on a small stack: all handlers of C have SA_ONSTACK, and SA_RESTART if calls are not to
// fail with EINTR.
//
// A child of fork has one thread, and neither Go nor the GSS-API library works in it:
// exec at once, or open the shared object with dlopen after the last fork. daemon(3) and
// servers that fork for each client are no place for a linked Go part; a worker that
// imports contexts is.
//
// # Checks
//
// With go build -asan and -fsanitize=address both parts are checked, leaks included;
// ci/lsan.supp lists what the libraries lose themselves. Under valgrind the part in Go
// needs the build tag valgrind (Go 1.25), --leak-check=no, since the runtime describes
// its memory in a way that ends the search for leaks, GODEBUG=asyncpreemptoff=1, and
// valgrind.supp. goserver_live tells at any time how many handles Go holds.
package cservice

//go:build cgo && unix

package main

/*
#include <stddef.h>
#include <stdint.h>

// Each function returns a GSS-API major status, 0 for success. If that is an
// error, the text says why.
#define GOSERVER_TEXT 512

// A session is what C hands over for the time of goserver_serve. When that returns,
// whatever it returns, all that is there is C's again, and to be released by C; NULL
// is what is gone.
typedef struct {
	void *context;             // gss_ctx_id_t, established
	void *peer;                // gss_name_t of the client
	void *delegated;           // gss_cred_id_t that the client delegated; may be NULL
	int fd;                    // of the connection. It stays C's, who does not use it meanwhile
	int panics;                // for the tests: the Go code panics when it has taken all over
	uint32_t flags;            // out: the flags of the context, as Go sees them
	char name[GOSERVER_TEXT];  // out: the client, as Go sees him
	char error[GOSERVER_TEXT]; // out
} goserver_session;

// An identity is what goserver_acquire gives to C, who releases it.
typedef struct {
	void *name;                // gss_name_t of the service
	void *credential;          // gss_cred_id_t to accept with
	char error[GOSERVER_TEXT]; // out
} goserver_identity;
*/
import "C"

import "unsafe"

// goserver_load comes first: wrap is the address of gss_wrap as the C program has
// it. Go uses the library that it is in, and no other.
//
//export goserver_load
func goserver_load(wrap unsafe.Pointer, text *C.char, size C.size_t) C.uint32_t {
	return answer(unsafe.Slice(text, size), guarded(func() error { return load(wrap) }))
}

// goserver_acquire makes the name service@host, and gets a credential for it from the
// default keytab.
//
//export goserver_acquire
func goserver_acquire(service, host *C.char, i *C.goserver_identity) C.uint32_t {
	return answer(i.error[:], guarded(func() (err error) {
		i.name, i.credential, err = acquire(C.GoString(service), C.GoString(host))
		return err
	}))
}

// goserver_serve sends the client back what he says, until he says no more. It blocks
// for as long. Any thread may call it, and many at once.
//
//export goserver_serve
func goserver_serve(c *C.goserver_session) C.uint32_t {
	return answer(c.error[:], guarded(func() error {
		s := &session{context: c.context, peer: c.peer, delegated: c.delegated, fd: int(c.fd), panics: c.panics != 0}
		defer func() {
			c.context, c.peer, c.delegated, c.flags = s.context, s.peer, s.delegated, C.uint32_t(s.flags)
			put(c.name[:], s.name)
		}()
		return s.serve()
	}))
}

// goserver_live is how many handles of the library Go holds.
//
//export goserver_live
func goserver_live() C.int64_t { return C.int64_t(live()) }

func answer(text []C.char, err error) C.uint32_t {
	put(text, "")
	if err != nil {
		put(text, err.Error())
	}
	return C.uint32_t(status(err))
}

// put writes s to C, as much as fits, with a NUL behind it.
func put(text []C.char, s string) {
	if len(text) == 0 {
		return
	}
	n := copy(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(text))), len(text)-1), s)
	text[n] = 0
}

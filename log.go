package gss

import (
	"os"
	"runtime"
	"syscall"
)

// SetLog calls gss_set_log_function: what the library has to say of its calls is
// written to a copy of f from then on, a line for each message, which begins with
// its level: "1 gss_isc: first flags ...". Heimdal says something where its
// Kerberos traces (KRB5_TRACE, or [logging] in krb5.conf), at the levels of that.
// There are names and mechanisms in it, and no keys.
//
// It is for the whole process. A nil f is the end of it. The library writes in the
// middle of its calls: what f does not take at once, being a pipe that is full, is
// lost, and a file that blocks blocks them. A library that had a function before,
// from C, keeps that one, and does not say so. Heimdal after 7.8, GSS.framework.
func SetLog(f *os.File) error {
	const op = "gss_set_log_function"
	if err := available(op); err != nil {
		return err
	}
	if f == nil {
		return logTo(op, -1)
	}
	c, err := f.SyscallConn()
	if err != nil {
		return &Error{Op: op, Major: ErrFailure, Text: err.Error()}
	}
	var failed error
	if err := c.Control(func(fd uintptr) { failed = logTo(op, int(fd)) }); err != nil {
		return &Error{Op: op, Major: ErrFailure, Text: err.Error()}
	}
	return failed
}

func logTo(op string, fd int) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s := setLogFunction(fd)
	switch {
	case s.failed() && s.minor != 0:
		return &Error{Op: op, Major: ErrFailure, Text: "the file cannot be copied: " + syscall.Errno(s.minor).Error()}
	case s.failed():
		return s.error(op, "")
	}
	return nil
}

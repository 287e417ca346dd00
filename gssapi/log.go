package gssapi

import (
	"bufio"
	"log/slog"
	"os"
	"strconv"
	"strings"

	"github.com/seed2651813c/gss"
)

// LogLibrary has the C library tell l what it does in its calls, at slog.LevelDebug
// and with the library's own level, of all of the process, until it is called
// again; nil ends it. Heimdal tells something where its Kerberos traces: set
// KRB5_TRACE, or [logging] in krb5.conf. Names and mechanisms are in it, and no
// keys. What comes faster than l takes it is lost. (A Trace tells what this package
// does.) Heimdal after 7.8, GSS.framework; ErrUnavailable on others.
func LogLibrary(l *slog.Logger) error {
	if l == nil {
		return gss.SetLog(nil)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer w.Close() // the library has a copy
	if err := gss.SetLog(w); err != nil {
		r.Close()
		return err
	}
	go func() { // until the library's copy is closed
		defer r.Close()
		for s := bufio.NewScanner(r); s.Scan(); {
			number, text, _ := strings.Cut(s.Text(), " ")
			level, _ := strconv.Atoi(number)
			l.Debug(text, "level", level)
		}
	}()
	return nil
}

package gssapi

import (
	"context"
	"log/slog"
	"time"
)

// Trace is a set of hooks that tell what happens, for logs and metrics. Any of
// them may be nil. A Trace is given in the options of a context or of a
// credential and serves that one for its life; many may share one Trace, which
// must not be changed then.
//
// A hook is called by the goroutine of the call that it tells about, when that
// is done and before its caller gets the result; Returned by a goroutine of its
// own. Hooks may be called at the same time, and should be quick. They never
// get a token, a message or a key. They may use what they are told of, but not
// Step in Blocked and Abandoned: it would wait for the Step that waits for them.
//
// [LogTrace] makes one that logs.
type Trace struct {
	// Acquired tells of a credential: the end of Acquire, Add, AcquireKrb5,
	// Impersonate or ForSPNEGO.
	Acquired func(Event)
	// Stepped tells of one leg of a handshake: the end of a Step.
	Stepped func(Event)
	// Established tells that a handshake is complete, after the last Stepped.
	Established func(Event)
	// MessageFailed tells that Wrap, Unwrap, AppendMIC, VerifyMIC, or a call of their
	// kind for messages in parts, failed.
	MessageFailed func(Event)
	// Exported tells of the end of Export, Imported of that of Import or Adopt.
	Exported, Imported func(Event)
	// Blocked tells that a call waits for a place: see Limits.
	Blocked func(Event)
	// Abandoned tells that a caller has given up while the C library went on.
	Abandoned func(Event)
	// Returned tells that an abandoned call came back; what it brought has been
	// released.
	Returned func(Event)
}

// noTrace is the Trace of those that have none.
var noTrace = new(Trace)

func (t *Trace) orNone() *Trace {
	if t == nil {
		return noTrace
	}
	return t
}

// fire calls a hook, if there is one.
func fire(hook func(Event), e Event) {
	if hook != nil {
		hook(e)
	}
}

// Event is what a hook of Trace is told. What does not apply is zero.
type Event struct {
	Op       string        // the method: Step, Acquire, Wrap, ...
	Context  *Context      // whose event it is; nil for those of credentials
	Name     *Name         // of the peer, as far as known (initiators: the target); for Acquire, of the credential that was asked for
	Mech     OID           // that was asked for, or agreed on once that is known
	Flags    Flags         // Established, Imported: that were granted
	Received int           // bytes: the token that Step or Import took, or the message that failed
	Sent     int           // bytes: the token that Step or Export returned
	Duration time.Duration // of the call so far; Established: since the first Step began; not for Blocked
	Err      error         // how the call ended; nil if well
}

// LogValue makes slog print the fields that are not zero.
func (e Event) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("op", e.Op)}
	if c := e.Context; c != nil {
		attrs = append(attrs, slog.String("side", c.side()))
	}
	if e.Name != nil {
		attrs = append(attrs, slog.Any("name", e.Name))
	}
	if e.Mech != "" {
		attrs = append(attrs, slog.String("mech", e.Mech.String()))
	}
	if e.Flags != 0 {
		attrs = append(attrs, slog.String("flags", e.Flags.String()))
	}
	if e.Received != 0 {
		attrs = append(attrs, slog.Int("received", e.Received))
	}
	if e.Sent != 0 {
		attrs = append(attrs, slog.Int("sent", e.Sent))
	}
	if e.Duration != 0 {
		attrs = append(attrs, slog.Duration("duration", e.Duration))
	}
	if e.Err != nil {
		attrs = append(attrs, slog.Any("error", e.Err))
	}
	return slog.GroupValue(attrs...)
}

// LogTrace returns a Trace that logs every event to l: at level Warn what went
// wrong, what had to wait and what was abandoned, else at level Debug;
// Established at level Info. Nil is slog.Default.
func LogTrace(l *slog.Logger) *Trace {
	if l == nil {
		l = slog.Default()
	}
	log := func(text string, level slog.Level) func(Event) {
		return func(e Event) {
			at := level
			if e.Err != nil {
				at = max(at, slog.LevelWarn)
			}
			l.LogAttrs(context.Background(), at, text, slog.Any("gssapi", e))
		}
	}
	return &Trace{
		Acquired:      log("credential acquired", slog.LevelDebug),
		Stepped:       log("step of a handshake", slog.LevelDebug),
		Established:   log("security context established", slog.LevelInfo),
		MessageFailed: log("message refused", slog.LevelWarn),
		Exported:      log("security context exported", slog.LevelDebug),
		Imported:      log("security context imported", slog.LevelDebug),
		Blocked:       log("call waits for others", slog.LevelWarn),
		Abandoned:     log("call abandoned", slog.LevelWarn),
		Returned:      log("abandoned call came back", slog.LevelWarn),
	}
}

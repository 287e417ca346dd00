package handoff

import (
	"context"
	"log/slog"
	"time"
)

// Trace is a set of hooks that tell what a Server does, for logs and metrics. Any
// of them may be nil. They are called at the same time by many goroutines, and
// should be quick. They never get a token or a key. Of each connection they tell
// Accepted and then one of HandshakeFailed, HandedOver, Refused and Lost; of each
// worker WorkerStarted, and, unless that is with an error, WorkerEnded.
type Trace struct {
	// WorkerStarted tells that a worker is ready to take connections; with an error,
	// that one could not be started.
	WorkerStarted func(Event)
	// WorkerEnded tells that a worker has ended; Err is nil if it was told to.
	WorkerEnded func(Event)
	// Accepted tells of a connection, before its handshake.
	Accepted func(Event)
	// HandshakeFailed tells that a client did not authenticate itself in time.
	HandshakeFailed func(Event)
	// HandedOver tells that a worker has a connection. It may have ended by then.
	HandedOver func(Event)
	// Refused tells that no worker took a connection of an authenticated client.
	Refused func(Event)
	// Lost tells that a connection was on its way when its worker failed.
	Lost func(Event)
	// AcceptFailed tells that a listener could not accept; it is tried again.
	AcceptFailed func(Event)
}

// Event is what a hook of Trace is told. What does not apply is zero.
type Event struct {
	Worker   int           // number of the worker, counted from 1 in the order of their starts
	PID      int           // of the worker
	Group    string        // of the worker or the connection: see Server.Group
	Remote   string        // address of the client
	Peer     string        // name of the client, once it is known
	Duration time.Duration // since the connection was accepted, or the worker started
	Err      error         // why it went wrong
}

// LogValue makes slog print the fields that are not zero.
func (e Event) LogValue() slog.Value {
	var attrs []slog.Attr
	if e.Worker != 0 {
		attrs = append(attrs, slog.Int("worker", e.Worker))
	}
	if e.PID != 0 {
		attrs = append(attrs, slog.Int("pid", e.PID))
	}
	if e.Group != "" {
		attrs = append(attrs, slog.String("group", e.Group))
	}
	if e.Remote != "" {
		attrs = append(attrs, slog.String("remote", e.Remote))
	}
	if e.Peer != "" {
		attrs = append(attrs, slog.String("peer", e.Peer))
	}
	if e.Duration != 0 {
		attrs = append(attrs, slog.Duration("duration", e.Duration))
	}
	if e.Err != nil {
		attrs = append(attrs, slog.Any("error", e.Err))
	}
	return slog.GroupValue(attrs...)
}

// noTrace is the Trace of those that have none.
var noTrace = new(Trace)

// fire calls a hook, if there is one.
func fire(hook func(Event), e Event) {
	if hook != nil {
		hook(e)
	}
}

// LogTrace returns a Trace that logs every event to l: at level Warn what went
// wrong, at level Info the starts and ends of workers, else at level Debug. Nil is
// slog.Default.
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
			l.LogAttrs(context.Background(), at, text, slog.Any("handoff", e))
		}
	}
	return &Trace{
		WorkerStarted:   log("worker started", slog.LevelInfo),
		WorkerEnded:     log("worker ended", slog.LevelInfo),
		Accepted:        log("connection accepted", slog.LevelDebug),
		HandshakeFailed: log("handshake failed", slog.LevelWarn),
		HandedOver:      log("connection handed over", slog.LevelDebug),
		Refused:         log("connection refused", slog.LevelWarn),
		Lost:            log("connection lost on its way to a worker", slog.LevelWarn),
		AcceptFailed:    log("accept failed", slog.LevelWarn),
	}
}

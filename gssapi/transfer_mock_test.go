package gssapi

import (
	"errors"
	"testing"

	"github.com/golang/mock/gomock"

	"github.com/seed2651813c/gss"
)

// established is a context with nothing of C behind it, for calls that are
// mocks.
func establishedMock(t *testing.T) (*Context, *MocktransferCalls, *MockexportedToken) {
	t.Helper()
	lacks(t, gss.KindGNU, "no export call is made")
	c := &Context{ctx: gss.NewCtx(), flags: FlagTrans}
	c.state.Store(uint32(established))
	ctrl := gomock.NewController(t)
	return c, NewMocktransferCalls(ctrl), NewMockexportedToken(ctrl)
}

var errMock = &Error{Op: "gss_export_sec_context", Major: ErrFailure, Text: "the disk is full"}

func TestMockExport(t *testing.T) {
	c, calls, token := establishedMock(t)
	gomock.InOrder(
		calls.EXPECT().Time(c.ctx).Return(uint32(60), nil),
		calls.EXPECT().Export(c.ctx).Return(token, nil),
		token.EXPECT().Bytes().Return([]byte("keys")),
		token.EXPECT().Release(),
	)
	b, err := c.export(calls)
	if err != nil || string(b) != "keys" {
		t.Fatalf("%q, %v", b, err)
	}
	if c.is() != gone {
		t.Errorf("%v, want one that is gone", c)
	}
	b, err = c.export(calls) // makes no call
	wantErr(t, "a second export", err, ErrNoContext)
	if b != nil {
		t.Error("there is a token")
	}
}

func TestMockExportFailsAndKeeps(t *testing.T) {
	c, calls, token := establishedMock(t)
	calls.EXPECT().Time(c.ctx).Return(uint32(60), nil).Times(2)
	failure := calls.EXPECT().Export(c.ctx).Return(nil, errMock)
	calls.EXPECT().Gone(c.ctx).Return(false)
	b, err := c.export(calls)
	if err != error(errMock) || b != nil {
		t.Fatalf("%q, %v", b, err)
	}
	if !c.Established() {
		t.Fatalf("%v, want it kept", c)
	}
	// And what is kept can be exported when the library's trouble is over.
	calls.EXPECT().Export(c.ctx).Return(token, nil).After(failure)
	token.EXPECT().Bytes().Return([]byte("keys"))
	token.EXPECT().Release()
	if b, err = c.export(calls); err != nil || string(b) != "keys" {
		t.Fatalf("%q, %v", b, err)
	}
}

func TestMockExportFailsAndLoses(t *testing.T) {
	c, calls, _ := establishedMock(t)
	calls.EXPECT().Time(c.ctx).Return(uint32(60), nil)
	calls.EXPECT().Export(c.ctx).Return(nil, errMock)
	calls.EXPECT().Gone(c.ctx).Return(true)
	b, err := c.export(calls)
	if err != error(errMock) || b != nil {
		t.Fatalf("%q, %v", b, err)
	}
	wantGone(t, c)
}

func TestMockExportExpired(t *testing.T) {
	c, calls, _ := establishedMock(t)
	calls.EXPECT().Time(c.ctx).Return(uint32(0), &Error{Op: "gss_context_time", Major: ErrContextExpired})
	_, err := c.export(calls)
	wantErr(t, "export", err, ErrContextExpired)
	if !c.Established() {
		t.Errorf("%v, want it kept", c)
	}
}

// Close in the midst of an export does not bring the context back, and the
// token is whole.
func TestMockExportClosed(t *testing.T) {
	c, calls, token := establishedMock(t)
	calls.EXPECT().Time(c.ctx).Return(uint32(60), nil)
	calls.EXPECT().Export(c.ctx).DoAndReturn(func(*gss.Ctx) (exportedToken, error) {
		c.Close()
		return token, nil
	})
	token.EXPECT().Bytes().Return([]byte("keys"))
	token.EXPECT().Release()
	if b, err := c.export(calls); err != nil || string(b) != "keys" {
		t.Fatalf("%q, %v", b, err)
	}
	if c.is() != closed {
		t.Errorf("%v, want a closed one", c)
	}
}

// Keys do not stay in the library's memory, whatever happens.
func TestMockExportPanics(t *testing.T) {
	c, calls, token := establishedMock(t)
	calls.EXPECT().Time(c.ctx).Return(uint32(60), nil)
	calls.EXPECT().Export(c.ctx).Return(token, nil)
	token.EXPECT().Bytes().Do(func() { panic("out of memory") })
	token.EXPECT().Release()
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		c.export(calls)
	}()
	if c.is() != gone {
		t.Errorf("%v, want one that is gone", c)
	}
}

// What is refused reaches no call: these mocks expect none.
func TestMockExportRefuses(t *testing.T) {
	for s, want := range map[state]Major{
		fresh: ErrNoContext, partial: ErrUnavailable, failed: ErrNoContext, gone: ErrNoContext, abandoned: ErrNoContext, closed: ErrNoContext,
	} {
		c, calls, _ := establishedMock(t)
		c.state.Store(uint32(s))
		_, err := c.export(calls)
		wantErr(t, c.String(), err, want)
		if c.is() != s {
			t.Errorf("%v, was in state %d", c, s)
		}
	}
	c, calls, _ := establishedMock(t)
	c.flags = DefaultFlags
	_, err := c.export(calls)
	wantErr(t, "without FlagTrans", err, ErrUnavailable)
}

func TestExportWithGNU(t *testing.T) {
	if kind() != gss.KindGNU {
		lacks(t, kind(), "it exports, GNU gss does not")
	}
	c := &Context{ctx: gss.NewCtx(), flags: FlagTrans}
	c.state.Store(uint32(established))
	_, err := c.export(NewMocktransferCalls(gomock.NewController(t)))
	wantErr(t, "export", err, ErrUnavailable, errors.ErrUnsupported)
	if !c.Established() {
		t.Errorf("%v, want it kept", c)
	}
}

func TestMockImportFails(t *testing.T) {
	calls := NewMocktransferCalls(gomock.NewController(t))
	calls.EXPECT().Import([]byte("token")).Return(nil, errMock)
	c, err := importContext(calls, []byte("token"), nil)
	if err != error(errMock) || c != nil {
		t.Fatalf("%v, %v", c, err)
	}
}

// What the library imported and cannot be inquired about is deleted.
func TestMockImportOfNothing(t *testing.T) {
	calls := NewMocktransferCalls(gomock.NewController(t))
	x := gss.NewCtx()
	calls.EXPECT().Import([]byte("token")).Return(x, nil)
	calls.EXPECT().Delete(x)
	c, err := importContext(calls, []byte("token"), nil)
	wantErr(t, "import", err, ErrNoContext)
	if c != nil {
		t.Errorf("there is %v", c)
	}
}

// What is refused is deleted, once.
func TestMockImportRefused(t *testing.T) {
	i, a := pair(t, nil, nil)
	for _, o := range []*ImportOptions{{Require: FlagAnon}, {Mech: MechNTLM}, {Peer: importName(t, "bob", NTUserName)}} {
		calls := NewMocktransferCalls(gomock.NewController(t))
		calls.EXPECT().Import([]byte("token")).Return(a.ctx, nil)
		calls.EXPECT().Delete(a.ctx)
		_, err := importContext(calls, []byte("token"), o)
		wantErr(t, "import", err, ErrUnauthorized)
	}
	calls := NewMocktransferCalls(gomock.NewController(t))
	calls.EXPECT().Import([]byte("token")).Return(a.ctx, nil)
	c, err := importContext(calls, []byte("token"), &ImportOptions{Peer: importName(t, "alice", NTUserName)})
	if err != nil {
		t.Fatal(err)
	}
	exchange(t, i, c)
}

package gssapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/seed2651813c/gss"
)

// Usage says what a credential is for.
type Usage uint8

// Usages.
const (
	Initiate Usage = iota // to log in with: tickets
	Accept                // to be logged in to: a keytab
	Both
)

// String returns initiate, accept or both.
func (u Usage) String() string {
	switch u {
	case Initiate:
		return "initiate"
	case Accept:
		return "accept"
	case Both:
		return "both"
	}
	return fmt.Sprintf("usage %d", uint8(u))
}

func (u Usage) thin() gss.CredUsage {
	return [...]gss.CredUsage{gss.UsageInitiate, gss.UsageAccept, gss.UsageBoth}[u]
}

func usageOf(u gss.CredUsage) Usage {
	switch u {
	case gss.UsageInitiate:
		return Initiate
	case gss.UsageAccept:
		return Accept
	}
	return Both
}

// CredentialOptions say which credential to acquire. It prints without its
// secrets.
type CredentialOptions struct {
	// Name is whose credential; nil is the default identity (for Accept: any
	// service in the keytab).
	Name *Name
	// Mechs are the mechanisms; none is what the library takes by default, but never
	// those that anybody has (SANON of Heimdal after 7.8).
	Mechs []OID
	// Usage; the zero value is Initiate.
	Usage Usage
	// Lifetime that is asked for, rounded up to seconds; 0 is the default,
	// Indefinite the longest.
	Lifetime time.Duration
	// Store says where credentials are, instead of the environment. It must say
	// where one of that usage is: what it leaves out is not the default. The keys are
	// those of MIT, of which Heimdal after 7.8 has ccache, password and keytab:
	//
	//	ccache         tickets to initiate with; a collection (DIR:, KCM:) is its
	//	               primary ccache, whatever the Name
	//	client_keytab  keys that fill and refresh that ccache
	//	password       of Name, for tickets in memory; with neither of these two
	//	verify         with a password: a service, or empty for any host, whose key in
	//	               the keytab proves that the KDC is no impostor
	//	keytab         keys to accept with
	//	rcache         their replay cache
	//
	// ErrUnavailable on libraries that have no stores (Heimdal 7.8, GNU gss).
	Store map[string]string
	// Password of Name, to get initial credentials with. With a Store it is
	// its key password. The empty password is none, and one with a NUL byte is
	// refused: the libraries end it there. With Heimdal 7.8 the credential is for
	// Kerberos, and not for SPNEGO.
	Password string `json:"-"`
	// CCache is a Kerberos ccache to initiate from, such as "FILE:/tmp/cc" or
	// "MEMORY:name", in place of the process' default one. It works where there is no
	// Store too (Heimdal 7.8), and not together with one. MIT and Heimdal.
	CCache string
	// NegMechs are the mechanisms that SPNEGO may negotiate with the credential, in
	// the order of preference; none: those that it has. ErrUnavailable on libraries
	// without gss_set_neg_mechs (Heimdal 7.8, GNU gss), and for a credential that is
	// not for SPNEGO.
	NegMechs []OID
	// Enctypes are the Kerberos encryption types (RFC 3961, by number: 18 is
	// aes256-cts-hmac-sha1-96) that contexts may have which are initiated with the
	// credential; none: the library's. MIT overlooks those that it does not know. MIT
	// and Heimdal.
	Enctypes []int32
	// NoCIFlags takes confidentiality and integrity out of what Kerberos asks for,
	// unless the context's Flags have them, for servers that mind. Contexts of this
	// package have both by default: see InitiatorOptions.Without. MIT 1.14 and later,
	// and Heimdal.
	NoCIFlags bool
	// RCache is the replay cache of a credential to accept with, for Kerberos alone
	// (Mechs), such as "none:" or "file2:/var/tmp/app". MIT 1.18 and later.
	RCache string
	// Options are set last, in this order, with gss_set_cred_option. MIT and Heimdal.
	Options []CredentialOption
	// Impersonator is for Add alone: the credential of a service, with which a
	// credential in the name of its client Name is got, see Impersonate. MIT.
	Impersonator *Credential
	// Trace is told how it was acquired, and of its calls that block.
	Trace *Trace
}

// CredentialOption is an option of a credential that its mechanism defines.
type CredentialOption struct {
	// OID says which. Those of MIT whose value is a pointer are refused.
	OID OID
	// Value, in the form that the option has. It is not printed.
	Value []byte `json:"-"`
}

// String tells which option it is, and the length of its value.
func (o CredentialOption) String() string {
	return fmt.Sprintf("%v (%d bytes)", o.OID, len(o.Value))
}

// Format is String for every verb: none prints the value.
func (o CredentialOption) Format(f fmt.State, verb rune) { io.WriteString(f, o.String()) }

// MarshalText is String, for encodings such as JSON.
func (o CredentialOption) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// redactStore is a credential store without the password.
func redactStore(store map[string]string) string {
	var entries []string
	for _, k := range slices.Sorted(maps.Keys(store)) {
		v := store[k]
		if strings.Contains(strings.ToLower(k), "password") {
			v = "(redacted)"
		}
		entries = append(entries, fmt.Sprintf("%s=%q", k, v))
	}
	return strings.Join(entries, " ")
}

func (o CredentialOptions) redacted() string {
	password := ""
	if o.Password != "" {
		password = "(redacted)"
	}
	s := fmt.Sprintf("{Name:%v Mechs:%v Usage:%v Lifetime:%v Store:[%s] Password:%s", o.Name, o.Mechs, o.Usage, o.Lifetime, redactStore(o.Store), password)
	for _, f := range []struct {
		name  string
		value any
		set   bool
	}{
		{"CCache", o.CCache, o.CCache != ""},
		{"NegMechs", o.NegMechs, len(o.NegMechs) > 0},
		{"Enctypes", o.Enctypes, len(o.Enctypes) > 0},
		{"NoCIFlags", o.NoCIFlags, o.NoCIFlags},
		{"RCache", o.RCache, o.RCache != ""},
		{"Options", o.Options, len(o.Options) > 0},
	} {
		if f.set {
			s += fmt.Sprintf(" %s:%v", f.name, f.value)
		}
	}
	return s + "}"
}

// Format prints the options for every verb, without the password.
func (o CredentialOptions) Format(f fmt.State, verb rune) { io.WriteString(f, o.redacted()) }

// MarshalText makes encoding/json and others write the options without the
// password.
func (o CredentialOptions) MarshalText() ([]byte, error) { return []byte(o.redacted()), nil }

// LogValue makes slog print the options without the password.
func (o CredentialOptions) LogValue() slog.Value { return slog.StringValue(o.redacted()) }

// Credential proves who the holder is: tickets, keys, or both. It is safe for
// concurrent use, and meant to be shared: acquiring costs as much as a
// handshake.
type Credential struct {
	c     *gss.Cred
	trace *Trace
}

func wrapCred(c *gss.Cred, t *Trace) *Credential {
	if c == nil {
		return nil
	}
	return &Credential{c, t}
}

// thin is the credential for C; nil, the default one, for nil. The zero
// Credential is none, and not the default one.
func (c *Credential) thin() *gss.Cred {
	if c == nil {
		return nil
	}
	if c.c == nil {
		return new(gss.Cred)
	}
	return c.c
}

// Acquire gets a credential. Nil options are the default one to initiate with: of a
// collection (DIR:, KCM:) the primary ccache, and with a Name the one of that name
// (MIT; Heimdal 7.8 does not look beyond the primary one). What ~/.k5identity
// chooses by the target (MIT) is for contexts that are given no credential.
//
// It may ask a KDC and so block. It returns when ctx is done, and its error is
// ctx's too; what the C library goes on to bring is released. The other errors
// are ErrNoCred (or ErrFailure, the libraries differ) when there is none, and
// ErrUnavailable for what the library cannot do. RFC 2744, 5.2.
func Acquire(ctx context.Context, o *CredentialOptions) (*Credential, error) {
	const op = "Acquire"
	if o == nil {
		o = new(CredentialOptions)
	}
	lifetime, err := o.check(ctx, op)
	if err != nil {
		return nil, err
	}
	if o.Impersonator != nil {
		return nil, refuse(op, ErrFailure, "an Impersonator is for Add: call its Impersonate")
	}
	name, mechs, usage := o.Name.thin(), identified(o.Mechs), o.Usage.thin()
	call := func([]byte) (*gss.CredResult, error) { return gss.AcquireCred(name, lifetime, mechs, usage) }
	var password []byte
	switch {
	case o.Store != nil:
		store, err := o.store(op)
		if err != nil {
			return nil, err
		}
		if store["password"] != "" && o.Name == nil {
			return nil, refuse(op, ErrBadName, "a password needs a Name: whose it is")
		}
		shown := shortened(redactStore(o.Store))
		call = func([]byte) (*gss.CredResult, error) {
			r, err := acquireFrom(op, store, func() (*gss.CredResult, error) {
				return gss.AcquireCredFrom(name, lifetime, mechs, usage, store)
			})
			return r, placed(err, "store: "+shown)
		}
	case o.Password != "":
		if o.Name == nil {
			return nil, refuse(op, ErrBadName, "a Password needs a Name: whose it is")
		}
		if len(mechs) == 0 && isKind(gss.KindMIT) {
			// By default MIT makes no element for SPNEGO here.
			mechs = []OID{MechKrb5, MechSPNEGO}
		}
		password = []byte(o.Password)
		defer clear(password)
		call = func(password []byte) (*gss.CredResult, error) {
			return gss.AcquireCredWithPassword(name, password, lifetime, mechs, usage)
		}
	}
	if o.CCache != "" {
		if o.Store != nil || o.Password != "" || o.Usage == Accept {
			return nil, refuse(op, ErrFailure, "a CCache is to initiate with, and goes with neither Store nor Password")
		}
		ccache, there := o.CCache, call
		call = func([]byte) (r *gss.CredResult, err error) {
			err = gss.WithCCacheName(ccache, func() (err error) {
				r, err = there(nil)
				return err
			})
			return r, placed(err, "ccache: "+shortened(strconv.Quote(ccache)))
		}
	}
	g := acquiring
	if o.Usage == Accept {
		g = accepting // no KDC is asked
	}
	return o.acquire(ctx, g, op, password, call)
}

// placed adds to an error where the credential was to be, which the libraries do not
// say.
func placed(err error, where string) error {
	if e := (*Error)(nil); errors.As(err, &e) {
		e.Text = strings.TrimPrefix(e.Text+" ("+where+")", " ")
	}
	return err
}

// identified are the mechanisms to acquire for: not SANON, unless it was asked for.
// Anybody has that, and Heimdals after 7.8 give it to whoever asks for SPNEGO or for
// no mechanism in particular, also if there is nothing else.
func identified(mechs []OID) []OID {
	if slices.ContainsFunc(mechs, func(m OID) bool { return m != MechSPNEGO }) || !isKind(gss.KindHeimdal) {
		return slices.Clone(mechs)
	}
	if all, err := gss.IndicateMechs(); err != nil || !slices.Contains(all, gss.MechSANON) {
		return slices.Clone(mechs)
	}
	return []OID{MechKrb5, MechSPNEGO}
}

// acquireFrom makes a call that acquires from a Store. In the place of a ccache that
// is missing, expired or somebody else's, Heimdal (after 7.8) would take what it gets
// with the keytab of the system.
func acquireFrom(op string, store map[string]string, call func() (*gss.CredResult, error)) (*gss.CredResult, error) {
	if store["ccache"] == "" || !isKind(gss.KindHeimdal) || !gss.Supports("gss_acquire_cred_from") {
		return call()
	}
	there, err := gss.ImportKrb5Cred(store["ccache"], "", "")
	if err != nil {
		return nil, err
	}
	defer there.Release()
	i, err := there.Inquire()
	if err != nil {
		return nil, err
	}
	i.Name.Release()
	if i.Lifetime == 0 {
		return nil, refuse(op, ErrCredentialsExpired, "the tickets in the ccache have expired")
	}
	r, err := call()
	if err != nil {
		return nil, err
	}
	want, err := there.InquireByOID(gss.CredCCache)
	if err == nil {
		var got [][]byte
		if got, err = r.Cred.InquireByOID(gss.CredCCache); err == nil && !slices.EqualFunc(got, want, bytes.Equal) {
			err = refuse(op, ErrNoCred, "the tickets in the ccache are of another name")
		}
	}
	if err != nil {
		r.Cred.Release()
		return nil, err
	}
	return r, nil
}

// acquire makes a call that returns a credential.
func (o *CredentialOptions) acquire(ctx context.Context, g *gate, op string, password []byte, call func(password []byte) (*gss.CredResult, error)) (*Credential, error) {
	tune := o.tuning()
	b := blocking[*gss.CredResult]{
		gate: g, trace: o.Trace.orNone(), event: Event{Op: op, Name: o.Name}, input: password,
		call: func(password []byte) (*gss.CredResult, error) {
			r, err := call(password)
			if err != nil {
				return nil, err
			}
			if err := tune(r.Cred); err != nil {
				r.Cred.Release()
				return nil, err
			}
			return r, nil
		},
		discard: func(r *gss.CredResult) {
			if r != nil {
				r.Cred.Release()
			}
		},
	}
	if len(o.Mechs) == 1 {
		b.event.Mech = o.Mechs[0]
	}
	began := time.Now()
	r, _, err := b.run(ctx)
	e := b.event
	e.Duration, e.Err = time.Since(began), err
	fire(b.trace.Acquired, e)
	if err != nil {
		return nil, err
	}
	return wrapCred(r.Cred, o.Trace), nil
}

// tuning sets the options of a credential that nobody else has yet.
func (o *CredentialOptions) tuning() func(*gss.Cred) error {
	neg, enctypes, noCI, rcache := slices.Clone(o.NegMechs), slices.Clone(o.Enctypes), o.NoCIFlags, o.RCache
	var options []CredentialOption
	if noCI {
		options = append(options, CredentialOption{OID: gss.NoCIFlagsOption})
	}
	for _, p := range o.Options {
		options = append(options, CredentialOption{p.OID, bytes.Clone(p.Value)})
	}
	return func(c *gss.Cred) error {
		if len(neg) > 0 {
			if err := c.SetNegMechs(neg); err != nil {
				return err
			}
		}
		if len(enctypes) > 0 {
			if err := c.SetAllowableEnctypes(enctypes); err != nil {
				return err
			}
		}
		if rcache != "" {
			if err := c.SetRCache(rcache); err != nil {
				return err
			}
		}
		for _, p := range options {
			if err := c.SetOption(p.OID, p.Value); err != nil {
				return err
			}
		}
		return nil
	}
}

// store is the Store as it goes to C.
func (o *CredentialOptions) store(op string) (map[string]string, error) {
	if err := o.checkStore(op); err != nil {
		return nil, err
	}
	store := maps.Clone(o.Store)
	if o.Password != "" {
		if _, ok := store["password"]; ok {
			return nil, refuse(op, ErrFailure, "there is a Password, and a password in the Store: give one")
		}
		store["password"] = o.Password
	}
	if isKind(gss.KindHeimdal) {
		delete(store, "rcache") // it has none
	} else if store["ccache"] != "" && store["client_keytab"] == "" {
		// MIT would fill a missing ccache from the environment's.
		store["client_keytab"] = "MEMORY:gssapi-none"
	}
	return store, nil
}

// storeKeys are the keys of a credential store that MIT 1.20 knows, and whether
// they alone say where a credential of that usage is. Heimdal after 7.8 overlooks
// some, and takes the keytab of the system for a client keytab without the name.
var storeKeys = map[string]struct{ initiate, accept, mit bool }{
	"ccache":        {initiate: true},
	"client_keytab": {mit: true},
	"password":      {initiate: true},
	"keytab":        {accept: true},
	"rcache":        {mit: true},
	"verify":        {mit: true},
}

// noRCache is no replay cache, as the value of a Store.
const noRCache = "none:"

// checkStore refuses a store that does not say where a credential of that usage
// is. MIT overlooks what it does not know, and takes the default credential.
func (o *CredentialOptions) checkStore(op string) error {
	initiate, accept := o.Password != "", false
	for k := range o.Store {
		key, ok := storeKeys[k]
		if !ok {
			return refuse(op, ErrFailure, "the Store has the key %q: there are %s", k, strings.Join(slices.Sorted(maps.Keys(storeKeys)), ", "))
		}
		initiate, accept = initiate || key.initiate, accept || key.accept
	}
	has := func(key string) bool { _, ok := o.Store[key]; return ok }
	password := o.Password != "" || has("password")
	switch {
	case has("client_keytab") && !has("ccache") && !password:
		return refuse(op, ErrFailure, "the client_keytab fills a ccache, which by default is not the Store's: give ccache too")
	case !initiate && o.Usage != Accept:
		return refuse(op, ErrFailure, "the Store does not say where a credential to initiate with is: give ccache or password")
	case !accept && o.Usage != Initiate:
		return refuse(op, ErrFailure, "the Store does not say where a credential to accept with is: give keytab")
	case password && (has("ccache") || has("client_keytab")):
		return refuse(op, ErrFailure, "a password brings tickets of its own: it goes with neither ccache nor client_keytab")
	case password && o.Usage == Accept:
		return refuse(op, ErrFailure, "a password is to initiate with")
	case has("verify") && !password:
		return refuse(op, ErrFailure, "verify is about what a password brings: give password")
	}
	for k, v := range o.Store {
		if storeKeys[k].mit && isKind(gss.KindHeimdal) && gss.Supports("gss_acquire_cred_from") && !(k == "rcache" && v == noRCache) {
			return refuse(op, ErrUnavailable, "the Store has the key %q, which Heimdal does not keep to", k)
		}
	}
	return nil
}

// check looks at ctx and at options before a call.
func (o *CredentialOptions) check(ctx context.Context, op string) (lifetime uint32, err error) {
	if err := ended(ctx, op); err != nil {
		return 0, err
	}
	if o.Usage > Both {
		return 0, refuse(op, ErrFailure, "%v is no usage: use Initiate, Accept or Both", o.Usage)
	}
	return seconds(op, o.Lifetime)
}

// Add returns a credential that has what c has and one element more: that of o,
// which names exactly one mechanism. Without a Name it is of c's name. c is not
// changed. It may ask a KDC; ctx is as for Acquire. RFC 2744, 5.3.
//
// A Store, a Password or an Impersonator (with a Name) say where from, one of
// them; a CCache does not. ErrUnavailable for what the library cannot do: a Store
// or an Impersonator on Heimdal 7.8, and there SPNEGO, and c to accept as any
// service.
func (c *Credential) Add(ctx context.Context, o *CredentialOptions) (*Credential, error) {
	const op = "Add"
	if c == nil || o == nil || len(o.Mechs) != 1 || o.CCache != "" {
		return nil, refuse(op, ErrFailure, "it takes a credential, and options with exactly one mechanism and no CCache")
	}
	lifetime, err := o.check(ctx, op)
	if err != nil {
		return nil, err
	}
	name, mech, usage, impersonator := o.Name.thin(), o.Mechs[0], o.Usage.thin(), o.Impersonator
	call := func(name *gss.Name, _ []byte) (*gss.CredResult, error) {
		return c.thin().Add(name, mech, usage, lifetime, lifetime)
	}
	var password []byte
	switch {
	case impersonator != nil:
		if o.Name == nil || o.Store != nil || o.Password != "" {
			return nil, refuse(op, ErrBadName, "an Impersonator needs a Name, of its client, and neither Store nor Password")
		}
		call = func(name *gss.Name, _ []byte) (*gss.CredResult, error) {
			return c.thin().AddImpersonate(impersonator.thin(), name, mech, usage, lifetime, lifetime)
		}
	case o.Store != nil:
		store, err := o.store(op)
		if err != nil {
			return nil, err
		}
		call = func(name *gss.Name, _ []byte) (*gss.CredResult, error) {
			return c.thin().AddFrom(name, mech, usage, lifetime, lifetime, store)
		}
	case o.Password != "":
		password = []byte(o.Password)
		defer clear(password)
		call = func(name *gss.Name, password []byte) (*gss.CredResult, error) {
			return c.thin().AddWithPassword(name, mech, password, usage, lifetime, lifetime)
		}
	}
	return o.acquire(ctx, acquiring, op, password, func(password []byte) (*gss.CredResult, error) {
		name := name
		if name == nil {
			// The same identity; for the library it would be the default one.
			i, err := c.thin().Inquire()
			if err != nil {
				return nil, err
			}
			defer i.Name.Release()
			name = i.Name
		}
		return call(name, password)
	})
}

// CredentialInfo is what a credential tells of itself.
type CredentialInfo struct {
	Name   *Name // nil for an acceptor of any name, if the library tells none
	Usage  Usage
	Mechs  []OID
	Expiry time.Time // zero: never; of an expired one: not after now
}

// LogValue makes slog print it.
func (i CredentialInfo) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("name", i.Name.String()), slog.String("usage", i.Usage.String()), slog.String("mechs", fmt.Sprint(i.Mechs))}
	if !i.Expiry.IsZero() {
		attrs = append(attrs, slog.Time("expiry", i.Expiry))
	}
	return slog.GroupValue(attrs...)
}

// Info inquires about the credential. It may ask a KDC, if MIT finds a client
// keytab to refresh it from. It returns when ctx is done; the credential goes on
// to be of use. RFC 2744, 5.21.
func (c *Credential) Info(ctx context.Context) (*CredentialInfo, error) {
	return c.info(ctx, func(c *gss.Cred) (*gss.CredInfo, error) { return c.Inquire() }, "")
}

// MechInfo inquires about the element of one mechanism; its Expiry is the
// earlier one of what initiates and what accepts. ErrUnavailable for SPNEGO with MIT.
// RFC 2744, 5.22.
func (c *Credential) MechInfo(ctx context.Context, mech OID) (*CredentialInfo, error) {
	return c.info(ctx, func(c *gss.Cred) (*gss.CredInfo, error) { return c.InquireByMech(mech) }, mech)
}

func (c *Credential) info(ctx context.Context, inquire func(*gss.Cred) (*gss.CredInfo, error), mech OID) (*CredentialInfo, error) {
	const op = "Info"
	if c == nil {
		return nil, refuse(op, ErrNoCred, "no credential: Acquire one")
	}
	if err := ended(ctx, op); err != nil {
		return nil, err
	}
	call := blocking[*gss.CredInfo]{
		gate: acquiring, trace: c.trace.orNone(), event: Event{Op: op, Mech: mech},
		call: func([]byte) (*gss.CredInfo, error) { return inquire(c.thin()) },
		discard: func(i *gss.CredInfo) {
			if i != nil {
				i.Name.Release()
			}
		},
	}
	i, _, err := call.run(ctx)
	if err != nil {
		return nil, err
	}
	info := &CredentialInfo{Name: wrapName(i.Name), Usage: usageOf(i.Usage), Mechs: i.Mechs}
	lifetime := i.Lifetime
	if mech != "" {
		info.Mechs = []OID{mech}
		switch info.Usage {
		case Accept:
			lifetime = i.AcceptorLifetime
		case Both:
			lifetime = min(lifetime, i.AcceptorLifetime)
		}
	}
	info.Expiry = expiry(lifetime)
	return info, nil
}

// Close releases the credential. It is optional. What uses it goes on.
func (c *Credential) Close() error {
	c.thin().Release()
	return nil
}

// AdoptCredential takes ownership of a gss_cred_id_t of the loaded library that
// C code of this process made. The error is ErrUnavailable if there are two
// GSS-API libraries in the process (call gss.LoadAt first), ErrNoCred for nil; then
// the handle is still the caller's.
func AdoptCredential(h unsafe.Pointer) (*Credential, error) {
	c, err := gss.AdoptCred(h)
	if err != nil {
		return nil, err
	}
	return wrapCred(c, nil), nil
}

// Detach gives the gss_cred_id_t to the caller, who releases it in C. Every use
// of the Credential from here on is ErrNoCred; Detach waits for those that are
// under way, abandoned ones too, which may ask a KDC. The error is ErrNoCred if it
// was closed or detached before, and with GNU gss while a context is there that was
// accepted with it.
func (c *Credential) Detach() (unsafe.Pointer, error) { return c.thin().Detach() }

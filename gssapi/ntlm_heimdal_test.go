package gssapi

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/seed2651813c/gss"
)

// challenge is a server's message of NTLM to the client whose first one is hello
// (MS-NLMP, 2.2.1.2).
func challenge(hello []byte) []byte {
	const (
		unicode, target, ntlm, targetInfo = 0x1, 0x4, 0x200, 0x800000
		domain                            = "D\x00O\x00M\x00"
		info                              = "\x02\x00\x06\x00" + domain + "\x00\x00\x00\x00"
		header                            = 48
	)
	le := binary.LittleEndian
	m := append([]byte("NTLMSSP\x00"), 2, 0, 0, 0)
	m = le.AppendUint16(m, uint16(len(domain)))
	m = le.AppendUint16(m, uint16(len(domain)))
	m = le.AppendUint32(m, header)
	m = le.AppendUint32(m, le.Uint32(hello[12:])|unicode|target|ntlm|targetInfo)
	m = append(m, "8 random........"...)
	m = le.AppendUint16(m, uint16(len(info)))
	m = le.AppendUint16(m, uint16(len(info)))
	m = le.AppendUint32(m, header+uint32(len(domain)))
	return append(append(m, domain...), info...)
}

// A context of Heimdal's NTLM, which only who asks for it gets: what the library
// tells of its names must not be touched, and Kerberos' own calls have nothing of it.
func TestHeimdalNTLM(t *testing.T) {
	needsHandshake(t)
	lacks(t, gss.KindMIT, "it has no NTLM")
	file := filepath.Join(t.TempDir(), "ntlm")
	if !inChildNow() {
		if err := os.WriteFile(file, []byte("DOM:user:password\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if !inChild(t, []string{"NTLM_USER_FILE=" + file}) {
		return
	}
	kept(t)
	user := importName(t, "user@DOM", NTUserName)
	cred, err := Acquire(t.Context(), &CredentialOptions{Mechs: []OID{MechNTLM}, Name: user})
	if err != nil {
		t.Fatal(err)
	}
	c := NewInitiator(target(t), &InitiatorOptions{Credential: cred, Mech: MechNTLM, Without: DefaultFlags})
	step(t, c, challenge(step(t, c, nil)))
	info, err := c.Info()
	if err != nil || !info.Local || info.Mech != MechNTLM || info.Peer().String() != "host@server.test" {
		t.Errorf("%+v, %v", info, err)
	}
	for what, err := range inquiries(c) {
		if err != nil && !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, _, err = c.LayoutIOV(nil, []byte("hello"), Integrity)
	wantErr(t, "LayoutIOV", err, ErrUnavailable)
	_, _, err = c.UnwrapInPlace([]byte("no token"))
	wantErr(t, "UnwrapInPlace", err, ErrDefectiveToken)
}

package gssapi

import (
	"testing"

	"github.com/seed2651813c/gss"
)

// IAKERB: the initiator gets its tickets through the acceptor.
func TestIAKERB(t *testing.T) {
	needsHandshake(t)
	if kind() != gss.KindMIT {
		t.Skipf("%s has no IAKERB", kind())
	}
	carol := acquire(t, &CredentialOptions{Name: importName(t, "carol", NTUserName), Password: carolsPassword, Mechs: []OID{MechIAKERB}})
	service := acquire(t, &CredentialOptions{Usage: Accept, Mechs: []OID{MechIAKERB}})
	o := &InitiatorOptions{Credential: carol, Mech: MechIAKERB}

	i, a := contexts(t, o, &AcceptorOptions{Credential: service})
	wantErr(t, "IAKERB where it is not among the mechanisms", handshake(i, a, nil), ErrBadMech)

	i, a = pair(t, o, &AcceptorOptions{Credential: service, Mechs: []OID{MechIAKERB}})
	info, err := a.Info()
	if err != nil || info.Peer().String() != realm.Principal("carol") || info.Mech != MechIAKERB {
		t.Errorf("%+v, %v", info, err)
	}
	exchange(t, i, a)
	token, err := a.Export()
	if err != nil {
		t.Fatal(err)
	}
	a, err = Import(token, &ImportOptions{Mech: MechIAKERB})
	if err != nil {
		t.Fatal(err)
	}
	exchange(t, i, a)
}

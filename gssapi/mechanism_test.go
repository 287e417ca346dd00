package gssapi

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/seed2651813c/gss"
)

func TestDescribeMech(t *testing.T) {
	i, err := DescribeMech(MechKrb5)
	if err != nil {
		t.Fatal(err)
	}
	if i.SASLName != "GS2-KRB5" || i.Name == "" || i.Description == "" {
		t.Errorf("Kerberos is %+v", i)
	}
	has := kind() != gss.KindGNU // it knows no attributes of mechanisms
	if slices.Contains(i.Attributes, MAWrap) != has || slices.Contains(i.Known, MAMechNego) != has || slices.Contains(i.Attributes, MAMechNego) {
		t.Errorf("Kerberos is %+v", i)
	}
	for _, mech := range []OID{"", "\x2a\x03", OID(bytes.Repeat([]byte{1}, 1000))} {
		i, err := DescribeMech(mech)
		if err == nil {
			t.Errorf("%v is %+v", mech, i)
		}
	}
	_, err = DescribeMech("\x2a\x03")
	wantErr(t, "a mechanism that is none", err, ErrBadMech)
}

func TestMechForSASLName(t *testing.T) {
	mechs, err := Mechanisms()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mechs {
		i, err := DescribeMech(m)
		if err != nil {
			t.Fatal(err)
		}
		got, err := MechForSASLName(i.SASLName)
		if m == gss.MechSANON && errors.Is(err, ErrBadMech) {
			continue // Heimdal after 7.8 does not know its own name of it
		}
		if err != nil || got != m {
			t.Errorf("%q is %v, %v, want %v", i.SASLName, got, err, m)
		}
	}
	_, err = MechForSASLName("NONE")
	wantErr(t, "a name that is none", err, ErrBadMech)
}

func TestMechanismsByAttributes(t *testing.T) {
	if kind() == gss.KindGNU {
		_, err := MechanismsByAttributes(nil, nil, nil)
		wantErr(t, "GNU gss", err, ErrUnavailable)
		_, _, _, err = DescribeAttribute(MAWrap)
		wantErr(t, "GNU gss", err, ErrUnavailable)
		return
	}
	for what, c := range map[string]struct {
		desired, except, critical []OID
		krb5, spnego              bool
	}{
		"all":           {krb5: true, spnego: true},
		"transfers":     {desired: []OID{MACtxTrans}, krb5: true},
		"not negotiate": {except: []OID{MAMechNego}, krb5: true},
		"negotiates":    {desired: []OID{MAMechNego}, spnego: true},
	} {
		mechs, err := MechanismsByAttributes(c.desired, c.except, c.critical)
		if err != nil || slices.Contains(mechs, MechKrb5) != c.krb5 || slices.Contains(mechs, MechSPNEGO) != c.spnego {
			t.Errorf("%s: %v, %v", what, mechs, err)
		}
	}
	mechs, err := MechanismsByAttributes(nil, nil, []OID{MACtxTrans, "\x2a\x03"})
	if err != nil || len(mechs) != 0 {
		t.Errorf("that know what nobody knows: %v, %v", mechs, err)
	}
	name, short, _, err := DescribeAttribute(MACtxTrans)
	if err != nil || name != "GSS_C_MA_CTX_TRANS" || short != "context-transfer" {
		t.Errorf("the attribute is %q, %q, %v", name, short, err)
	}
	_, _, _, err = DescribeAttribute("\x2a\x03")
	wantErr(t, "an attribute that is none", err, ErrBadMechAttr)
}

// The first token of a context is in the frame.
func TestEncapsulate(t *testing.T) {
	kept(t)
	token, err := Encapsulate(MechKrb5, []byte("token"))
	if err != nil || string(token) != "\x60\x10\x06\x09"+string(MechKrb5)+"token" {
		t.Fatalf("framed: %q, %v", token, err)
	}
	if inner, err := Decapsulate(MechKrb5, token); err != nil || string(inner) != "token" {
		t.Errorf("back: %q, %v", inner, err)
	}
	_, err = Decapsulate(MechSPNEGO, token)
	wantErr(t, "as another mechanism's", err, ErrDefectiveToken)
	_, err = Decapsulate(MechKrb5, token[:len(token)-1])
	wantErr(t, "cut", err, ErrDefectiveToken)
	_, err = Encapsulate("", nil)
	wantErr(t, "without a mechanism", err, ErrBadMech)

	t.Run("first tokens", func(t *testing.T) {
		eachMech(t, func(t *testing.T, mech OID) {
			i, _ := contexts(t, &InitiatorOptions{Mech: mech}, nil)
			first := step(t, i, nil)
			inner, err := Decapsulate(mech, first)
			if err != nil {
				t.Fatal(err)
			}
			again, err := Encapsulate(mech, inner)
			if err != nil || !bytes.Equal(again, first) {
				t.Errorf("a first token, taken out of its frame and put in again: %d bytes, was %d; %v", len(again), len(first), err)
			}
		})
	})
}

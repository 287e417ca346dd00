package gssapi

import (
"fmt"
	"os/user"
	"testing"

	"github.com/seed2651813c/gss"
)

func TestScratch(t *testing.T) {
	mechs, _ := Mechanisms()
	for _, m := range mechs {
		i, err := DescribeMech(m)
		t.Logf("%v: %+v %v", m, i, err)
		if i != nil {
			o, err := MechForSASLName(i.SASLName)
			t.Log(o, err)
			for _, a := range i.Known {
				n, s, l, err := DescribeAttribute(a)
				if m == MechKrb5 {
					t.Log(n, "|", s, "|", l, "|", err)
				}
			}
		}
		s, err := gss.OIDToStr(m)
		t.Logf("%q %v", s, err)
		s, err = gss.OIDToName(m)
		t.Logf("%q %v", s, err)
		opts, err := gss.MOList(m)
		t.Log(opts, err)
		for _, o := range opts {
			n, err := gss.MOName(m, o)
			v, err2 := gss.MOGet(m, o)
			t.Logf("%v %q %v %q %v", o, n, err, v, err2)
		}
	}
	t.Log(MechanismsByAttributes([]OID{MAWrap}, nil, nil))
	t.Log(MechanismsByAttributes(nil, []OID{MAWrap}, nil))
	t.Log(MechanismsByAttributes(nil, nil, []OID{MAWrap}))
	t.Log(MechanismsByAttributes(nil, nil, []OID{MADeprecated}))
	t.Log(MechanismsByAttributes(nil, nil, []OID{"\x2a\x03"}))
	t.Log(MechanismsByAttributes([]OID{"\x2a\x03"}, nil, nil))
	_, err := DescribeMech("\x2a\x03")
	t.Log(err)
	_, _, _, err = DescribeAttribute("\x2a\x03")
	t.Log(err)
	o, err := gss.NameToOID("kerb")
	t.Log(o, err)
	o, err = gss.StrToOID("{ 1 2 840 113554 1 2 2 }")
	t.Log(o, err)
	b, err := Encapsulate(MechKrb5, []byte("hello"))
	t.Logf("%q %v", b, err)
	b, err = Decapsulate(MechKrb5, b)
	t.Logf("%q %v", b, err)
	_, err = Decapsulate(MechSPNEGO, b)
	t.Logf("%v", err)
	t.Log(gss.MechInvoke(MechKrb5, MechKrb5+"\x05\x01", nil))

	try := func(what string, n *Name) {
		for _, typ := range []OID{n.Type(), NTUserName, NTKrb5PrincipalName, NTHostBasedService} {
			s, err := n.DisplayAs(typ)
			t.Logf("%s as %v: %q %v", what, typ, s, err)
		}
		a, err := n.Attributes()
		t.Logf("%s: %+v %v", what, a, err)
		if a != nil {
			for _, name := range a.Names {
				v, err := n.Attribute(name)
				t.Logf("%s: %.300s %v", name, fmt.Sprintf("%q", fmt.Sprint(v)), err)
			}
		}
		v, err := n.Attribute("nosuch")
		t.Log(v, err)
		c, err := n.WithAttribute("nosuch", []byte("v"), true)
		t.Log(c, err)
		c, err = n.WithAttribute("urn:mspac:77", []byte("v"), true)
		t.Log(c, err)
		c, err = n.WithoutAttribute("nosuch")
		t.Log(c, err)
		c, err = n.WithoutAttribute("urn:mspac:")
		t.Log(c, err)
		b, err := n.ExportComposite()
		t.Logf("%d %.60q %v", len(b), b, err)
		if err == nil {
			c, err := ImportName(string(b), NTCompositeExport)
			t.Log(c, err)
			if err == nil {
				t.Log(c.Attributes())
				t.Log(c.Attribute("urn:mspac:client-info"))
			}
		}
		for _, m := range []OID{"", MechKrb5, MechSPNEGO, MechNTLM, "\x2a\x03"} {
			l, err := n.LocalName(t.Context(), m)
			u, err2 := n.UID(t.Context(), m)
			t.Logf("%s for %v: %q %v %d %v", what, m, l, err, u, err2)
		}
		me, _ := user.Current()
		for _, u := range []string{"alice", "root", me.Username, "nosuchuser"} {
			l, err := n.MayLogIn(t.Context(), u)
			l2, err2 := n.thin().UserOK(u)
			t.Logf("%s log in as %s: %v %v, %v %v", what, u, l, err, l2, err2)
		}
	}
	try("imported root", importName(t, "root", NTUserName))
	p := importName(t, "root@TEST.GSS", NTKrb5PrincipalName)
	try("principal root", p)
	c, err := p.Canonicalize(t.Context(), MechKrb5)
	if err == nil {
		try("canonical root", c)
	}
	p = importName(t, "a/b@TEST.GSS", NTKrb5PrincipalName)
	if c, err = p.Canonicalize(t.Context(), MechKrb5); err == nil {
		try("canonical a/b", c)
	}
	if kind() != gss.KindGNU {
		for _, m := range []OID{MechKrb5, MechSPNEGO} {
			_, a := pair(t, &InitiatorOptions{Mech: m}, nil)
			i, err := a.Info()
			if err != nil {
				t.Fatal(err)
			}
			try("peer", i.Peer())
		}
	}
}

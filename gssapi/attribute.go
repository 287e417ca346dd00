package gssapi

import "github.com/seed2651813c/gss"

// AttrLocalLoginUser is the attribute of a name that has the local users who the
// principal may log in as; see MayLogIn, which asks for it. MIT.
const AttrLocalLoginUser = gss.AttrLocalLoginUser

// DisplayAs returns the name as a text of type typ, for people and logs. Control
// characters are replaced. ErrUnavailable if the name cannot be shown so: MIT 1.20
// shows an imported name as the type that it was imported as, and a mechanism name
// as NTKrb5PrincipalName; Heimdal 7.8 and GNU gss show none. It does not block. RFC
// 6680, 7.3.
func (n *Name) DisplayAs(typ OID) (string, error) {
	b, err := taken(n.thin().DisplayExt(typ))
	if err != nil {
		return "", err
	}
	return printable(b), nil
}

// NameAttributes tells which attributes a name has.
type NameAttributes struct {
	MechName bool     // a mechanism name, such as that of a peer; others have no attributes
	Mech     OID      // whose it is; empty if it is none
	Names    []string // of the attributes, for Attribute
}

// Attributes tells which attributes the name has. The names of peers that came
// with MIT's Kerberos have those of their tickets: "urn:mspac:" and others with
// that beginning for a PAC, "auth-indicators" for how the user logged in.
// ErrUnavailable on Heimdal 7.8, whose mechanisms know none, and on GNU gss. It does
// not block. RFC 6680, 7.4.
func (n *Name) Attributes() (*NameAttributes, error) {
	i, err := n.thin().Inquire()
	if err != nil {
		return nil, err
	}
	return &NameAttributes{i.MechName, i.Mech, i.Attributes}, nil
}

// AttributeValue is one value of an attribute of a name.
type AttributeValue struct {
	Value   []byte
	Display string // for people; often empty

	// Authenticated: somebody who may say so has said it, such as the KDC. Access
	// is decided by such values only.
	Authenticated bool
	// Complete: nothing is missing in the value.
	Complete bool
}

// maxValues bounds how many values an attribute has: a library could go on for
// ever.
const maxValues = 1024

// Attribute returns the values of an attribute, all of them. ErrUnavailable for an
// attribute that the name does not have, or whose proof does not hold, and on
// Heimdal 7.8 and GNU gss. It does not block. RFC 6680, 7.5.
func (n *Name) Attribute(name string) ([]AttributeValue, error) {
	return values(name, func(more int32) (*gss.Attribute, error) { return n.thin().GetAttribute(name, more) })
}

// values are what get tells, one after the other.
func values(name string, get func(more int32) (*gss.Attribute, error)) ([]AttributeValue, error) {
	var values []AttributeValue
	for more := int32(-1); more != 0; {
		if len(values) == maxValues {
			return nil, refuse("Attribute", ErrFailure, "the attribute %q has more than %d values", name, maxValues)
		}
		a, err := get(more)
		if err != nil {
			return nil, err
		}
		values = append(values, AttributeValue{a.Value.Bytes(), printable(a.Display.Bytes()), a.Authenticated, a.Complete})
		more = a.More
		a.Release()
	}
	return values, nil
}

// WithAttribute returns a copy of the name with a value of an attribute; n does not
// change. complete says that nothing is missing in the value. ErrUnavailable for an
// attribute that cannot be set, such as one that only a KDC can, and on Heimdal 7.8
// and GNU gss. It does not block. RFC 6680, 7.6.
func (n *Name) WithAttribute(name string, value []byte, complete bool) (*Name, error) {
	c, err := n.thin().SetAttribute(complete, name, value)
	if err != nil {
		return nil, err
	}
	return wrapName(c), nil
}

// WithoutAttribute returns a copy of the name without an attribute; n does not
// change. ErrUnavailable for an attribute that the name does not have or that
// cannot be taken off, and on Heimdal 7.8 and GNU gss. It does not block. RFC 6680,
// 7.7.
func (n *Name) WithoutAttribute(name string) (*Name, error) {
	c, err := n.thin().DeleteAttribute(name)
	if err != nil {
		return nil, err
	}
	return wrapName(c), nil
}

// ExportComposite returns the name with its attributes, for ImportName with
// NTCompositeExport. It is not for comparing or access control lists: Export is.
//
// Whoever imports it takes the attributes as proven. So it must reach him by a way
// on which nobody can change it, and only from whom he trusts.
//
// ErrUnavailable for a name that is not a mechanism's, and on Heimdal 7.8 and GNU
// gss. It does not block. RFC 6680, 7.8.
func (n *Name) ExportComposite() ([]byte, error) { return taken(n.thin().ExportComposite()) }

//go:build cgo && unix && !darwin

package gss

// searchList is where a library is looked for, in this order. FreeBSD's own
// Heimdal has another soname.
var searchList = []candidate{
	{KindMIT, "libgssapi_krb5.so.2"},
	{KindHeimdal, "libgssapi.so.3"},
	{KindHeimdal, "libgssapi.so.10"},
	{KindGNU, "libgss.so.3"},
}

//go:build cgo && darwin

package gss

// searchList is where a library is looked for, in this order: the system's own
// first, since it knows where the user's tickets are (API: caches); then MIT and
// Heimdal as Homebrew and MacPorts install them. The framework's file is in the
// shared cache of dyld and not on disk; dlopen finds it there.
var searchList = []candidate{
	{KindApple, "/System/Library/Frameworks/GSS.framework/GSS"},
	{KindMIT, "/opt/homebrew/opt/krb5/lib/libgssapi_krb5.2.2.dylib"},
	{KindMIT, "/usr/local/opt/krb5/lib/libgssapi_krb5.2.2.dylib"},
	{KindMIT, "/opt/local/lib/libgssapi_krb5.2.2.dylib"},
	{KindHeimdal, "/opt/homebrew/opt/heimdal/lib/libgssapi.3.dylib"},
	{KindHeimdal, "/usr/local/opt/heimdal/lib/libgssapi.3.dylib"},
}

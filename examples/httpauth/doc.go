// Package httpauth holds the tests of package gssapi/httpauth with programs that
// nobody here wrote: curl, Apache with mod_auth_gssapi, and Python.
package httpauth

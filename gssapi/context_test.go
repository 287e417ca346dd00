package gssapi

// uses are all calls that need an established context, with their errors.
func uses(c *Context) map[string]error {
	m := map[string]error{}
	_, m["Export"] = c.Export()
	_, m["Detach"] = c.Detach()
	_, m["Info"] = c.Info()
	_, m["Wrap"] = c.Wrap([]byte("msg"))
	_, m["AppendWrap"] = c.AppendWrap(nil, []byte("msg"), Integrity)
	_, m["Unwrap"] = c.Unwrap([]byte("token"))
	_, _, m["AppendUnwrap"] = c.AppendUnwrap(nil, []byte("token"))
	_, m["AppendMIC"] = c.AppendMIC(nil, []byte("msg"))
	m["VerifyMIC"] = c.VerifyMIC([]byte("msg"), []byte("mic"))
	_, m["MaxMessage"] = c.MaxMessage(1000, Private)
	m["ProcessToken"] = c.ProcessToken([]byte("token"))
	return m
}

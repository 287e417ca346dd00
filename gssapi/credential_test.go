package gssapi

import "testing"

const carolsPassword = "Tr0ub4dor and 3"

func testExpiredCredential(t *testing.T) {}

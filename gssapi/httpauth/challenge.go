package httpauth

import (
	"encoding/base64"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strings"
)

// scheme is the name of the authentication scheme of RFC 4559.
const scheme = "Negotiate"

// maxToken is the length of the longest token that is taken, in bytes of base64. The
// ticket of a user in a thousand groups of Active Directory has about 64 KiB.
const maxToken = 256 << 10

// challenge looks for Negotiate in a header, WWW-Authenticate or Proxy-Authenticate,
// that may have several lines and several challenges in a line. token is what came
// with it; nil if nothing did. It is an error if that is no base64, and if there are
// two tokens: nobody can tell then which one is meant.
func challenge(h http.Header, name string) (token []byte, found bool, err error) {
	for _, line := range h.Values(name) {
		for s, rest := range challenges(line) {
			if !strings.EqualFold(s, scheme) {
				continue
			}
			found = true
			if rest == "" {
				continue
			}
			if token != nil {
				return nil, true, fmt.Errorf("httpauth: %s has more than one token", name)
			}
			if token, err = decode(rest); err != nil {
				return nil, true, fmt.Errorf("httpauth: %s: %w", name, err)
			}
		}
	}
	return token, found, nil
}

// credentials takes the token out of an Authorization header: the error is for a
// token that is none, found is false if the scheme is another one.
func credentials(value string) (token []byte, found bool, err error) {
	s, rest, _ := strings.Cut(strings.Trim(value, " \t"), " ")
	if !strings.EqualFold(s, scheme) {
		return nil, false, nil
	}
	token, err = decode(strings.Trim(rest, " \t"))
	return token, true, err
}

// negotiate is the value of a header that carries token, which may be empty.
func negotiate(token []byte) string {
	if len(token) == 0 {
		return scheme
	}
	return scheme + " " + base64.StdEncoding.EncodeToString(token)
}

func decode(s string) ([]byte, error) {
	if len(s) > maxToken {
		return nil, fmt.Errorf("a token of %d characters is longer than %d", len(s), maxToken)
	}
	token, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, errors.New("the token is not in base64")
	}
	if len(token) == 0 {
		return nil, errors.New("the token is empty")
	}
	return token, nil
}

// challenges yields the schemes in a header line, each with what follows it: a token,
// parameters, or nothing. RFC 9110, 11.6.1.
func challenges(line string) iter.Seq2[string, string] {
	return func(yield func(scheme, rest string) bool) {
		scheme, rest := "", ""
		for element := range elements(line) {
			// An element is a parameter, or begins with a scheme.
			word := strings.IndexAny(element, " \t=")
			if word >= 0 && strings.HasPrefix(strings.TrimLeft(element[word:], " \t"), "=") {
				rest += ", " + element
				continue
			}
			if scheme != "" && !yield(scheme, rest) {
				return
			}
			if word < 0 {
				word = len(element)
			}
			scheme, rest = element[:word], strings.TrimLeft(element[word:], " \t")
		}
		if scheme != "" {
			yield(scheme, rest)
		}
	}
}

// elements yields what stands between the commas of a line, but for those in quoted
// strings, without the spaces around it and if it is not empty: RFC 9110, 5.6.1.
func elements(line string) iter.Seq[string] {
	return func(yield func(string) bool) {
		quoted, escaped, begin := false, false, 0
		for n := 0; n <= len(line); n++ {
			switch {
			case n < len(line) && escaped:
				escaped = false
			case n < len(line) && quoted && line[n] == '\\':
				escaped = true
			case n < len(line) && line[n] == '"':
				quoted = !quoted
			case n == len(line) || line[n] == ',' && !quoted:
				if e := strings.Trim(line[begin:n], " \t"); e != "" && !yield(e) {
					return
				}
				begin = n + 1
			}
		}
	}
}

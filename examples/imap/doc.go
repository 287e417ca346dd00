// Package imap is the proof that package sasl authenticates to Dovecot, through the
// interface of go-sasl: see its tests.
package imap

package httpauth

import (
	"io"
	"sync/atomic"
)

// closing is a body that counts how often it is closed.
type closing struct {
	io.Reader
	closed atomic.Int32
	read   atomic.Int64
}

func (c *closing) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.read.Add(int64(n))
	return n, err
}

func (c *closing) Close() error {
	c.closed.Add(1)
	return nil
}

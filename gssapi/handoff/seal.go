package handoff

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// What goes over the socket are packets: a header, which the seal covers, and
// sealed bytes. A message is as many packets as it needs; the descriptor is with
// the first one. The first packet in each direction is a hello, which is not
// sealed: it has the random bytes that the keys of this session are made of.
//
//	 0  4  "GSSH"
//	 4  1  version
//	 5  1  type: see packetType
//	 6  1  direction: see direction
//	 7  1  number of descriptors that come with it
//	 8 16  session: zero in a hello
//	24  8  counter of this direction, the most significant byte first: zero in a hello
//	32     hello: 32 random bytes; others: AES-256-GCM, its nonce four zero bytes and the counter
const (
	magic      = "GSSH"
	version    = 1
	headerSize = 32
	randomSize = 32
	tagSize    = 16
	maxPart    = 32 << 10 // of a message in a packet: what every system takes as a datagram
	maxPacket  = headerSize + maxPart + tagSize
)

type packetType byte

const (
	packetHello packetType = iota
	packetLast             // the message ends with it
	packetMore             // the message goes on in the next one
)

// direction keeps a packet from being taken by who sent it.
type direction byte

const (
	toReceiver direction = iota
	toSender
)

func (d direction) other() direction { return 1 - d }

// String says who sends in that direction.
func (d direction) String() string {
	if d == toReceiver {
		return "sender"
	}
	return "receiver"
}

type header struct {
	version byte
	typ     packetType
	dir     direction
	fds     byte
	session [16]byte
	counter uint64
}

func (h *header) append(b []byte) []byte {
	b = append(b, magic...)
	b = append(b, h.version, byte(h.typ), byte(h.dir), h.fds)
	b = append(b, h.session[:]...)
	return binary.BigEndian.AppendUint64(b, h.counter)
}

// parseHeader takes the header of p apart, which has come from direction dir.
func parseHeader(p []byte, dir direction) (*header, error) {
	if len(p) < headerSize {
		return nil, fmt.Errorf("%w: %d bytes are too few", ErrMessage, len(p))
	}
	if string(p[:4]) != magic {
		return nil, fmt.Errorf("%w: the peer does not speak the handoff protocol", ErrMessage)
	}
	h := &header{version: p[4], typ: packetType(p[5]), dir: direction(p[6]), fds: p[7], counter: binary.BigEndian.Uint64(p[24:])}
	copy(h.session[:], p[8:24])
	switch {
	case h.version != version:
		return nil, fmt.Errorf("%w: the peer speaks version %d of the handoff protocol, this process version %d: both must be built with versions of this package that speak the same", ErrMessage, h.version, version)
	case h.typ > packetMore || h.dir > toSender || h.fds > 1:
		return nil, fmt.Errorf("%w: its header is none", ErrMessage)
	case h.dir != dir:
		return nil, fmt.Errorf("%w: both ends are the %v, or a message came back to the one who sent it", ErrMessage, h.dir)
	}
	return h, nil
}

// sealer seals or opens the packets of one direction.
type sealer struct {
	aead    cipher.AEAD
	dir     direction
	session [16]byte
	counter uint64 // of the next packet
}

// sealers makes those of a session from the key and both ends' random bytes: each
// session and direction has a key of its own, so no nonce is used twice, and no
// packet of one means anything in another.
func sealers(k Key, fromSender, fromReceiver []byte) (to [2]*sealer, err error) {
	salt := append(append(make([]byte, 0, 2*randomSize), fromSender...), fromReceiver...)
	secret, err := hkdf.Extract(sha256.New, k.bytes()[:], salt)
	if err != nil {
		return to, err
	}
	defer clear(secret)
	expand := func(info string, n int) []byte {
		b, e := hkdf.Expand(sha256.New, secret, "github.com/seed2651813c/gss handoff 1 "+info, n)
		if e != nil {
			err = e
		}
		return b
	}
	id := expand("session", 16)
	keys := [2][]byte{expand("to receiver", 32), expand("to sender", 32)}
	if err != nil {
		return to, err
	}
	for i := range to {
		block, err := aes.NewCipher(keys[i])
		clear(keys[i])
		if err != nil {
			return to, err
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return to, err
		}
		to[i] = &sealer{aead: aead, dir: direction(i), session: [16]byte(id)}
	}
	return to, nil
}

func nonce(counter uint64) (n [12]byte) {
	binary.BigEndian.PutUint64(n[4:], counter)
	return n
}

// seal appends a packet with part in it to b.
func (s *sealer) seal(b, part []byte, typ packetType, fds byte) []byte {
	h := header{version, typ, s.dir, fds, s.session, s.counter}
	begin := len(b)
	b = h.append(b)
	n := nonce(s.counter)
	s.counter++
	return s.aead.Seal(b, n[:], part, b[begin:begin+headerSize])
}

// open appends what is in packet p to b, which stays as it was on an error. It takes
// the next packet of its session and direction, and no other.
func (s *sealer) open(b, p []byte) (*header, []byte, error) {
	h, err := parseHeader(p, s.dir)
	switch {
	case err != nil:
		return nil, b, err
	case h.typ == packetHello:
		return nil, b, fmt.Errorf("%w: a second hello", ErrMessage)
	case h.session != s.session:
		return nil, b, fmt.Errorf("%w: it is of another session, or the ends have different keys", ErrMessage)
	case h.counter != s.counter:
		return nil, b, fmt.Errorf("%w: it has number %d, the next one is %d: messages were repeated, lost or reordered", ErrMessage, h.counter, s.counter)
	}
	n := nonce(s.counter)
	opened, err := s.aead.Open(b, n[:], p[headerSize:], p[:headerSize])
	if err != nil {
		return nil, b, fmt.Errorf("%w: its seal is broken: it was changed", ErrMessage)
	}
	s.counter++
	return h, opened, nil
}

// hello makes the first packet of direction dir.
func hello(dir direction) []byte {
	h := header{version: version, typ: packetHello, dir: dir}
	b := h.append(make([]byte, 0, headerSize+randomSize))
	b = b[:headerSize+randomSize]
	rand.Read(b[headerSize:])
	return b
}

// parseHello returns the random bytes of a hello of direction dir.
func parseHello(p []byte, dir direction) ([]byte, error) {
	h, err := parseHeader(p, dir)
	if err != nil {
		return nil, err
	}
	if h.typ != packetHello || h.fds != 0 || h.counter != 0 || h.session != [16]byte{} || len(p) != headerSize+randomSize {
		return nil, fmt.Errorf("%w: it is no hello", ErrMessage)
	}
	return p[headerSize:], nil
}

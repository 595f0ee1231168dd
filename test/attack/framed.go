// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package attack

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Framed is a client that writes HTTP/2 frame by frame: Go's client keeps the rules. Only one goroutine may
// write. What comes back is read in the background; Seen and Over may be called from any goroutine.
type Framed struct {
	*http2.Framer
	conn   net.Conn
	scheme string
	block  bytes.Buffer
	enc    *hpack.Encoder
	// done is closed when the connection has ended.
	done chan struct{}
	// pings counts answers to pings.
	pings atomic.Int64

	mu       sync.Mutex
	settings map[http2.SettingID]uint32
	status   map[uint32]string
	resets   map[uint32]http2.ErrCode
}

// writeTimeout is how long an attacker waits for a server that does not read.
const writeTimeout = 5 * time.Second

// NewFramed begins HTTP/2 on a connection, with settings of the client. The Framed owns the connection, also
// if NewFramed returns an error.
func NewFramed(c net.Conn, settings ...http2.Setting) (*Framed, error) {
	f := &Framed{
		Framer: http2.NewFramer(c, c), conn: c, scheme: "http", done: make(chan struct{}),
		settings: map[http2.SettingID]uint32{}, status: map[uint32]string{}, resets: map[uint32]http2.ErrCode{},
	}
	if _, ok := c.(*tls.Conn); ok {
		f.scheme = "https"
	}
	f.enc = hpack.NewEncoder(&f.block)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = c.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		c.Close()
		return nil, err
	}
	if err := f.WriteSettings(settings...); err != nil {
		c.Close()
		return nil, err
	}
	go f.read()
	return f, nil
}

// Close ends the connection.
func (f *Framed) Close() error { return f.conn.Close() }

func (f *Framed) read() {
	defer close(f.done)
	for {
		frame, err := f.ReadFrame()
		if of := (http2.StreamError{}); errors.As(err, &of) {
			continue
		}
		if err != nil {
			return
		}
		f.mu.Lock()
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			_ = frame.ForeachSetting(func(s http2.Setting) error {
				f.settings[s.ID] = s.Val
				return nil
			})
		case *http2.MetaHeadersFrame:
			if s := frame.PseudoValue("status"); s != "" {
				f.status[frame.StreamID] = s
			}
		case *http2.PingFrame:
			if frame.IsAck() {
				f.pings.Add(1)
			}
		case *http2.RSTStreamFrame:
			f.resets[frame.StreamID] = frame.ErrCode
		}
		f.mu.Unlock()
	}
}

// Seen returns the answers, resets and settings that have come.
func (f *Framed) Seen() (status map[uint32]string, resets map[uint32]http2.ErrCode, settings map[http2.SettingID]uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.status), maps.Clone(f.resets), maps.Clone(f.settings)
}

// Over tells whether the connection has ended.
func (f *Framed) Over() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// RoundTrip returns when the server has read what was sent so far, or after 10 s with an error.
func (f *Framed) RoundTrip() error {
	before := f.pings.Load()
	if err := f.WritePing(false, [8]byte{}); err != nil {
		return fmt.Errorf("write PING: %w", err)
	}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if f.pings.Load() > before {
			return nil
		}
		if f.Over() {
			return errors.New("the connection has ended")
		}
	}
	return errors.New("no answer to a ping")
}

// field adds a header to the block.
func (f *Framed) field(name, value string) {
	_ = f.enc.WriteField(hpack.HeaderField{Name: name, Value: value}) // into memory
}

// head returns a block of headers, with more lines of "name: value".
func (f *Framed) head(method, path string, more ...string) []byte {
	f.block.Reset()
	f.field(":method", method)
	f.field(":scheme", f.scheme)
	f.field(":authority", host)
	f.field(":path", path)
	for _, line := range more {
		name, value, _ := strings.Cut(line, ": ")
		f.field(name, value)
	}
	return bytes.Clone(f.block.Bytes())
}

// Ask begins the nth request (from 0); one with GET is whole. It returns the stream's number.
func (f *Framed) Ask(n int, method, path string, more ...string) (uint32, error) {
	id := uint32(2*n + 1)
	_ = f.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	block := f.head(method, path, more...)
	first := block[:min(len(block), 16000)]
	if err := f.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, BlockFragment: first, EndStream: method == "GET", EndHeaders: len(first) == len(block),
	}); err != nil {
		return id, err
	}
	for block = block[len(first):]; len(block) > 0; {
		n := min(len(block), 16000)
		if err := f.WriteContinuation(id, n == len(block), block[:n]); err != nil {
			return id, err
		}
		block = block[n:]
	}
	return id, nil
}

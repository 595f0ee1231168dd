// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// framed is a client that writes HTTP/2 frame by frame: Go's client keeps the rules.
type framed struct {
	*http2.Framer
	c     net.Conn
	block bytes.Buffer
	enc   *hpack.Encoder
	// done is closed when the connection has ended.
	done chan struct{}

	mu       sync.Mutex
	settings map[http2.SettingID]uint32
	status   map[uint32]string
	resets   map[uint32]http2.ErrCode
	ended    map[uint32]bool
	data     int
}

// framed connects, with settings of the client.
func (d door) framed(t *testing.T, settings ...http2.Setting) *framed {
	t.Helper()
	f, err := d.tryFramed(t.Context(), settings...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.c.Close() })
	return f
}

func (d door) tryFramed(ctx context.Context, settings ...http2.Setting) (*framed, error) {
	c, err := d.ns.dial(ctx, "tcp4", d.addr)
	if err != nil {
		return nil, err
	}
	f := &framed{
		Framer: http2.NewFramer(c, c), c: c, done: make(chan struct{}),
		settings: map[http2.SettingID]uint32{}, status: map[uint32]string{}, resets: map[uint32]http2.ErrCode{}, ended: map[uint32]bool{},
	}
	f.enc = hpack.NewEncoder(&f.block)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = c.SetWriteDeadline(time.Now().Add(5 * time.Second))
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

func hpackField(name, value string) hpack.HeaderField {
	return hpack.HeaderField{Name: name, Value: value}
}

func (f *framed) read() {
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
			if frame.StreamEnded() {
				f.ended[frame.StreamID] = true
			}
			if s := frame.PseudoValue("status"); s != "" {
				f.status[frame.StreamID] = s
			}
		case *http2.DataFrame:
			f.data += len(frame.Data())
			if frame.StreamEnded() {
				f.ended[frame.StreamID] = true
			}
		case *http2.RSTStreamFrame:
			f.resets[frame.StreamID] = frame.ErrCode
		}
		f.mu.Unlock()
	}
}

// seen returns the answers, resets and settings that have come.
func (f *framed) seen() (status map[uint32]string, resets map[uint32]http2.ErrCode, settings map[http2.SettingID]uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.status), maps.Clone(f.resets), maps.Clone(f.settings)
}

// over tells whether the connection has ended.
func (f *framed) over() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// head returns a block of headers, with more lines of "name: value".
func (f *framed) head(method, path string, more ...string) []byte {
	f.block.Reset()
	field := func(name, value string) { _ = f.enc.WriteField(hpack.HeaderField{Name: name, Value: value}) }
	field(":method", method)
	field(":scheme", "http")
	field(":authority", "www.example.com")
	field(":path", path)
	for _, line := range more {
		name, value, _ := strings.Cut(line, ": ")
		field(name, value)
	}
	return bytes.Clone(f.block.Bytes())
}

// ask begins the nth request (from 0); one with GET is whole. It returns the stream's number.
func (f *framed) ask(n int, method, path string, more ...string) (uint32, error) {
	id := uint32(2*n + 1)
	_ = f.c.SetWriteDeadline(time.Now().Add(5 * time.Second))
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

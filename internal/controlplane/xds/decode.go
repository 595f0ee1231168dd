// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package xds

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/printable"
)

// Requests are decoded by hand, since a general decoder allocates for each element of a message before
// anything can be checked: two bytes of a node's metadata become forty. What is not used is skipped
// without being allocated, and what is used is counted while it is read.

// Bounds of the elements of a request.
const (
	maxNameBytes    = names.MaxLength // of one name or type URL
	maxVersionBytes = 128             // of a version that a client brings; a longer one is not one of ours
	maxNodeBytes    = 512             // of a node's id, and of each field of its metadata that is kept
	maxErrorBytes   = 4096            // of a client's NACK that are kept
)

// request is what is read of a request of either protocol.
type request struct {
	url, nonce string
	node       *Node // nil: the request has none
	// rejected tells whether there is an error detail, and text is its message.
	rejected bool
	text     string
	// subscribe are the names of a state-of-the-world request.
	subscribe, unsubscribe []string
	versions               map[string]string
}

// limits are what a decoder does not go beyond.
type limits struct {
	// names of one request, each list by itself.
	names int
	// meta are the names of the fields of the node's metadata that are kept, for requests of that type.
	meta func(url string) []string
	// metaBytes are kept of one such field.
	metaBytes func(url string) int
}

// layout has the numbers of the fields of a protocol's request. 0: it has no such field.
type layout struct {
	message                                                         string
	node, url, subscribe, unsubscribe, versions, nonce, errorDetail protowire.Number
}

// The layouts of envoy.service.discovery.v3.DeltaDiscoveryRequest and DiscoveryRequest.
var (
	deltaLayout = layout{message: "DeltaDiscoveryRequest", node: 1, url: 2, subscribe: 3, unsubscribe: 4, versions: 5, nonce: 6, errorDetail: 7}
	stateLayout = layout{message: "DiscoveryRequest", node: 2, subscribe: 3, url: 4, nonce: 5, errorDetail: 6}
)

var (
	errUTF8     = errors.New("a text is not UTF-8")
	errManyName = errors.New("too many names")
	errName     = errors.New("a resource name is empty or too long")
)

// decode reads a request. It allocates in proportion to the names in it, of which there are no more than
// limits allow.
func (l layout) decode(b []byte, limit limits) (*request, error) {
	r := &request{}
	var node []byte
	err := fields(b, func(n protowire.Number, v []byte) error {
		var err error
		switch n {
		case 0:
		case l.node:
			node = v
			r.node = &Node{}
		case l.url:
			if len(v) > maxNameBytes {
				return errors.New("type_url is too long")
			}
			r.url, err = text(v)
		case l.subscribe:
			r.subscribe, err = appendName(r.subscribe, v, limit.names)
		case l.unsubscribe:
			r.unsubscribe, err = appendName(r.unsubscribe, v, limit.names)
		case l.versions:
			err = r.version(v, limit.names)
		case l.nonce:
			if len(v) > maxNameBytes {
				r.nonce = "?" // none of ours
				return nil
			}
			r.nonce, err = text(v)
		case l.errorDetail:
			r.rejected = true
			err = fields(v, func(n protowire.Number, v []byte) error {
				if n == 2 {
					r.text = clip(printable.Line(clipBytes(v, maxErrorBytes)), maxErrorBytes)
				}
				return nil
			})
		}
		return err
	})
	if err == nil && r.node != nil {
		err = r.node.decode(node, limit.meta(r.url), limit.metaBytes(r.url))
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

func appendName(l []string, v []byte, limit int) ([]string, error) {
	switch {
	case len(v) == 0 || len(v) > maxNameBytes:
		return nil, errName
	case len(l) >= limit:
		return nil, errManyName
	}
	s, err := text(v)
	return append(l, s), err
}

// version reads an element of initial_resource_versions.
func (r *request) version(b []byte, limit int) error {
	var name, version []byte
	err := fields(b, func(n protowire.Number, v []byte) error {
		switch n {
		case 1:
			name = v
		case 2:
			version = v
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case len(name) == 0 || len(name) > maxNameBytes:
		return errName
	case len(r.versions) >= limit:
		return errManyName
	case !utf8.Valid(name) || !utf8.Valid(version):
		return errUTF8
	}
	if r.versions == nil {
		r.versions = map[string]string{}
	}
	r.versions[string(name)] = clipBytes(version, maxVersionBytes)
	return nil
}

// decode reads the id of a Node and the fields of its metadata that are strings and have one of the names.
func (n *Node) decode(b []byte, keep []string, limit int) error {
	const id, metadata = 1, 3
	return fields(b, func(f protowire.Number, v []byte) error {
		switch f {
		case id:
			n.ID = clipBytes(v, maxNodeBytes)
		case metadata:
			return fields(v, func(f protowire.Number, v []byte) error {
				if f != 1 || len(keep) == 0 { // Struct.fields
					return nil
				}
				return n.field(v, keep, limit)
			})
		}
		return nil
	})
}

// field reads one element of a Struct.
func (n *Node) field(b []byte, keep []string, limit int) error {
	var key, value []byte
	if err := fields(b, func(f protowire.Number, v []byte) error {
		switch f {
		case 1:
			key = v
		case 2:
			value = v
		}
		return nil
	}); err != nil {
		return err
	}
	for _, name := range keep {
		if string(key) != name {
			continue
		}
		return fields(value, func(f protowire.Number, v []byte) error {
			if f == 3 && len(v) > 0 { // Value.string_value
				if n.Metadata == nil {
					n.Metadata = map[string]string{}
				}
				n.Metadata[name] = clipBytes(v, limit)
			}
			return nil
		})
	}
	return nil
}

// fields calls f for each length-delimited field of a message and skips all others.
func fields(b []byte, f func(protowire.Number, []byte) error) error {
	for len(b) > 0 {
		n, t, size := protowire.ConsumeTag(b)
		if size < 0 {
			return protowire.ParseError(size)
		}
		b = b[size:]
		if t != protowire.BytesType {
			if size = skip(t, b); size < 0 {
				return protowire.ParseError(size)
			}
			b = b[size:]
			continue
		}
		v, size := protowire.ConsumeBytes(b)
		if size < 0 {
			return protowire.ParseError(size)
		}
		b = b[size:]
		if err := f(n, v); err != nil {
			return err
		}
	}
	return nil
}

// skip returns the size of a value that is not length-delimited, or what protowire.ParseError takes.
// Groups, which no message of the protocols has, are refused.
func skip(t protowire.Type, b []byte) int {
	switch t {
	case protowire.VarintType:
		_, n := protowire.ConsumeVarint(b)
		return n
	case protowire.Fixed32Type:
		_, n := protowire.ConsumeFixed32(b)
		return n
	case protowire.Fixed64Type:
		_, n := protowire.ConsumeFixed64(b)
		return n
	}
	return -1 // the end is missing
}

func text(b []byte) (string, error) {
	if !utf8.Valid(b) {
		return "", errUTF8
	}
	return string(b), nil
}

// clipBytes is clip of bytes that need not be UTF-8.
func clipBytes(b []byte, n int) string { return clip(string(b[:min(len(b), n+utf8.UTFMax)]), n) }

// malformedRequest is the error for a client whose request can't be decoded.
func (l layout) malformed(err error) error {
	return fmt.Errorf("the request is not a %s within the limits: %w", l.message, err)
}

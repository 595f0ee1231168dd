// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package wire

import (
	"google.golang.org/protobuf/encoding/protowire"
)

// each calls f for every field of a message: v for length-delimited ones, u for varints, neither for others.
func each(b []byte, f func(n protowire.Number, v []byte, u uint64) error) error {
	for len(b) > 0 {
		n, t, size := protowire.ConsumeTag(b)
		if size < 0 {
			return protowire.ParseError(size)
		}
		b = b[size:]
		var v []byte
		var u uint64
		switch t {
		case protowire.BytesType:
			v, size = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			u, size = protowire.ConsumeVarint(b)
		default:
			size = protowire.ConsumeFieldValue(n, t, b)
		}
		if size < 0 {
			return protowire.ParseError(size)
		}
		b = b[size:]
		if err := f(n, v, u); err != nil {
			return err
		}
	}
	return nil
}

// appendString and appendBytes leave out empty values, which mean the same as absent ones in proto3.
func appendString(b []byte, n protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return appendElement(b, n, s)
}

func appendBytes(b []byte, n protowire.Number, v []byte) []byte {
	if len(v) == 0 {
		return b
	}
	return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), v)
}

// appendElement writes even an empty string: an element of a repeated field.
func appendElement(b []byte, n protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), s)
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package wire

import (
	"fmt"

	"google.golang.org/grpc/mem"
)

// Codec is a gRPC codec whose messages are encoded already: send []byte, receive *[]byte. The zero value is ready.
type Codec struct{}

// Name is "proto", since that is what the bytes are.
func (Codec) Name() string { return "proto" }

// Marshal passes the bytes on; they must not be changed until they have been sent.
func (Codec) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("wire codec: cannot send %T", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}

// Unmarshal copies the message.
func (Codec) Unmarshal(data mem.BufferSlice, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("wire codec: cannot receive into %T", v)
	}
	*b = data.Materialize()
	return nil
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package xds

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// codec passes a response on as the pieces it consists of, without marshalling
// or copying them, and hands a request over as it came, so that a garbled one
// is answered with a status of ours. Everything else is protobuf.
type codec struct{}

var _ encoding.CodecV2 = codec{}

// raw is a request as it came.
type raw struct{ bytes []byte }

func (codec) Name() string { return "proto" }

func (codec) Marshal(v any) (mem.BufferSlice, error) {
	switch m := v.(type) {
	case *response:
		l := make(mem.BufferSlice, 0, len(m.frames)+1)
		for _, f := range m.frames {
			l = append(l, mem.SliceBuffer(f))
		}
		return append(l, mem.SliceBuffer(m.tail)), nil
	case proto.Message:
		b, err := proto.Marshal(m)
		return mem.BufferSlice{mem.SliceBuffer(b)}, err
	}
	return nil, fmt.Errorf("marshal %T: not a protobuf message", v)
}

func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	switch m := v.(type) {
	case *raw:
		m.bytes = data.Materialize()
		return nil
	case proto.Message:
		buf := data.MaterializeToBuffer(mem.DefaultBufferPool())
		defer buf.Free()
		return proto.Unmarshal(buf.ReadOnlyData(), m)
	}
	return fmt.Errorf("unmarshal %T: not a protobuf message", v)
}

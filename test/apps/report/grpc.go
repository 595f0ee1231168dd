// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package report

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/structpb"
)

// GRPC begins the report of a gRPC call.
func (s Self) GRPC(ctx context.Context) Report {
	md, _ := metadata.FromIncomingContext(ctx)
	return Report{
		Service: s.Service, Version: s.Version, Pod: s.Pod,
		Caller: CallerOf(md.Get(Header)), Protocol: "gRPC",
	}
}

// Register adds the unary method /service/method, which takes google.protobuf.Empty and answers a
// report as google.protobuf.Struct, and the stream /service/methods, which answers each message so.
// It needs no generated code.
func Register(srv *grpc.Server, service, method string, answer func(context.Context) Report) {
	handle := func(_ any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
		in := new(emptypb.Empty)
		if err := decode(in); err != nil {
			return nil, err
		}
		call := func(ctx context.Context, _ any) (any, error) { return toStruct(answer(ctx)) }
		if intercept == nil {
			return call(ctx, in)
		}
		return intercept(ctx, in, &grpc.UnaryServerInfo{FullMethod: "/" + service + "/" + method}, call)
	}
	srv.RegisterService(&grpc.ServiceDesc{
		ServiceName: service,
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: method, Handler: handle}},
		Streams:     []grpc.StreamDesc{{StreamName: method + "s", Handler: each(answer), ServerStreams: true, ClientStreams: true}},
	}, nil)
}

// Any answers every method of every service that is not registered, as Register's do, be it called as
// a unary one or as a stream.
func Any(answer func(context.Context) Report) grpc.ServerOption {
	return grpc.UnknownServiceHandler(each(answer))
}

// each answers every message of a stream.
func each(answer func(context.Context) Report) grpc.StreamHandler {
	return func(_ any, s grpc.ServerStream) error {
		for {
			if err := s.RecvMsg(new(emptypb.Empty)); err != nil {
				if errors.Is(err, io.EOF) {
					return nil
				}
				return err
			}
			out, err := toStruct(answer(s.Context()))
			if err != nil {
				return err
			}
			if err := s.SendMsg(out); err != nil {
				return err
			}
		}
	}
}

// Invoke calls a method that Register or Any made; method is "/service/method".
func Invoke(ctx context.Context, conn grpc.ClientConnInterface, method string) (Report, error) {
	out := new(structpb.Struct)
	if err := conn.Invoke(ctx, method, new(emptypb.Empty), out); err != nil {
		return Report{}, fmt.Errorf("call %s: %w", method, err)
	}
	return fromStruct(out)
}

// A Stream asks a method that Register made again and again; see OpenStream.
type Stream struct{ stream grpc.ClientStream }

// OpenStream opens a stream that Register made; method is "/service/methods". It ends with ctx.
func OpenStream(ctx context.Context, conn grpc.ClientConnInterface, method string) (Stream, error) {
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		return Stream{}, fmt.Errorf("open %s: %w", method, err)
	}
	return Stream{s}, nil
}

// Ask sends a message and waits for its answer.
func (s Stream) Ask() (Report, error) {
	if err := s.stream.SendMsg(new(emptypb.Empty)); err != nil && !errors.Is(err, io.EOF) { // EOF: RecvMsg tells why
		return Report{}, err
	}
	out := new(structpb.Struct)
	if err := s.stream.RecvMsg(out); err != nil {
		return Report{}, err
	}
	return fromStruct(out)
}

// Close says that no more is asked, and waits until the server has ended the stream as well.
func (s Stream) Close() error {
	if err := s.stream.CloseSend(); err != nil {
		return err
	}
	if err := s.stream.RecvMsg(new(structpb.Struct)); !errors.Is(err, io.EOF) {
		return fmt.Errorf("want the end of the stream: %w", err)
	}
	return nil
}

func fromStruct(s *structpb.Struct) (Report, error) {
	body, err := s.MarshalJSON()
	if err != nil {
		return Report{}, fmt.Errorf("decode report: %w", err)
	}
	return Parse(body)
}

func toStruct(r Report) (*structpb.Struct, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode report: %w", err)
	}
	out := new(structpb.Struct)
	if err := out.UnmarshalJSON(body); err != nil {
		return nil, fmt.Errorf("encode report: %w", err)
	}
	return out, nil
}

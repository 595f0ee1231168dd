// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package report

import (
	"context"
	"encoding/json"
	"fmt"

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
// report as google.protobuf.Struct. It needs no generated code.
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
	}, nil)
}

// Invoke calls a method that Register made; method is "/service/method".
func Invoke(ctx context.Context, conn grpc.ClientConnInterface, method string) (Report, error) {
	out := new(structpb.Struct)
	if err := conn.Invoke(ctx, method, new(emptypb.Empty), out); err != nil {
		return Report{}, fmt.Errorf("call %s: %w", method, err)
	}
	body, err := out.MarshalJSON()
	if err != nil {
		return Report{}, fmt.Errorf("call %s: %w", method, err)
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

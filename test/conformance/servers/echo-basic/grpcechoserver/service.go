// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package grpcechoserver

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// ServiceName is the full name of the service.
const ServiceName = pkg + "GrpcEcho"

// GrpcEchoClient calls the service.
type GrpcEchoClient interface {
	Echo(context.Context, *EchoRequest, ...grpc.CallOption) (*EchoResponse, error)
	EchoTwo(context.Context, *EchoRequest, ...grpc.CallOption) (*EchoResponse, error)
	EchoThree(context.Context, *EchoRequest, ...grpc.CallOption) (*EchoResponse, error)
}

type client struct{ cc grpc.ClientConnInterface }

// NewGrpcEchoClient returns a client that calls over cc.
func NewGrpcEchoClient(cc grpc.ClientConnInterface) GrpcEchoClient { return client{cc} }

func (c client) call(ctx context.Context, method string, in *EchoRequest, o []grpc.CallOption) (*EchoResponse, error) {
	out := new(EchoResponse)
	if err := c.cc.Invoke(ctx, "/"+ServiceName+"/"+method, in, out, o...); err != nil {
		return nil, err
	}
	return out, nil
}

func (c client) Echo(ctx context.Context, in *EchoRequest, o ...grpc.CallOption) (*EchoResponse, error) {
	return c.call(ctx, "Echo", in, o)
}

func (c client) EchoTwo(ctx context.Context, in *EchoRequest, o ...grpc.CallOption) (*EchoResponse, error) {
	return c.call(ctx, "EchoTwo", in, o)
}

func (c client) EchoThree(ctx context.Context, in *EchoRequest, o ...grpc.CallOption) (*EchoResponse, error) {
	return c.call(ctx, "EchoThree", in, o)
}

// GrpcEchoServer implements the service.
type GrpcEchoServer interface {
	Echo(context.Context, *EchoRequest) (*EchoResponse, error)
	EchoTwo(context.Context, *EchoRequest) (*EchoResponse, error)
	EchoThree(context.Context, *EchoRequest) (*EchoResponse, error)
}

// UnimplementedGrpcEchoServer returns Unimplemented from every method.
type UnimplementedGrpcEchoServer struct{}

func unimplemented(method string) error {
	return status.Errorf(codes.Unimplemented, "method %s not implemented", method)
}

func (UnimplementedGrpcEchoServer) Echo(context.Context, *EchoRequest) (*EchoResponse, error) {
	return nil, unimplemented("Echo")
}

func (UnimplementedGrpcEchoServer) EchoTwo(context.Context, *EchoRequest) (*EchoResponse, error) {
	return nil, unimplemented("EchoTwo")
}

func (UnimplementedGrpcEchoServer) EchoThree(context.Context, *EchoRequest) (*EchoResponse, error) {
	return nil, unimplemented("EchoThree")
}

// RegisterGrpcEchoServer adds the service to s.
func RegisterGrpcEchoServer(s grpc.ServiceRegistrar, srv GrpcEchoServer) {
	method := func(name string, f func(context.Context, *EchoRequest) (*EchoResponse, error)) grpc.MethodDesc {
		return grpc.MethodDesc{MethodName: name, Handler: func(srv any, ctx context.Context, dec func(any) error, ic grpc.UnaryServerInterceptor) (any, error) {
			in := new(EchoRequest)
			if err := dec(in); err != nil {
				return nil, err
			}
			if ic == nil {
				return f(ctx, in)
			}
			return ic(ctx, in, &grpc.UnaryServerInfo{Server: srv, FullMethod: "/" + ServiceName + "/" + name},
				func(ctx context.Context, in any) (any, error) { return f(ctx, in.(*EchoRequest)) })
		}}
	}
	s.RegisterService(&grpc.ServiceDesc{ServiceName: ServiceName, HandlerType: (*GrpcEchoServer)(nil), Methods: []grpc.MethodDesc{
		method("Echo", srv.Echo), method("EchoTwo", srv.EchoTwo), method("EchoThree", srv.EchoThree),
	}}, srv)
}

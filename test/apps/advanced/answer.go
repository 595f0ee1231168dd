// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package advanced

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Method is the gRPC method that the server answers.
const Method = "/echo.EchoTestService/Echo"

// Lines tell of a message's headers, each as "FIELD=Name:value", in order.
func Lines(field string, h http.Header) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, v := range h[name] {
			fmt.Fprintf(&b, "%s=%s:%s\n", field, name, v)
		}
	}
	return b.String()
}

// Self tells who answers: the name of the pod, and the port.
func Self(port string) string {
	name, err := os.Hostname()
	if err != nil {
		name = "unknown"
	}
	return fmt.Sprintf("Hostname=%s\nServicePort=%s\n", name, port)
}

// Register makes srv answer Method with what arrived.
func Register(srv *grpc.Server, port string) {
	echo := func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		if err := decode(new(emptypb.Empty)); err != nil {
			return nil, err
		}
		md, _ := metadata.FromIncomingContext(ctx)
		h := http.Header{}
		for k, vs := range md {
			for _, v := range vs {
				h.Add(k, v)
			}
		}
		text := "Proto=GRPC\nHost=" + strings.Join(md.Get(":authority"), ",") + "\n" + Lines("RequestHeader", h) + Self(port)
		return wrapperspb.String(text), nil
	}
	service, method, _ := strings.Cut(strings.TrimPrefix(Method, "/"), "/")
	srv.RegisterService(&grpc.ServiceDesc{
		ServiceName: service, HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: method, Handler: echo}},
	}, nil)
}

// Call calls Method with request metadata and returns the answer's lines.
func Call(ctx context.Context, conn grpc.ClientConnInterface, h http.Header) (string, error) {
	for name, vs := range h {
		for _, v := range vs {
			ctx = metadata.AppendToOutgoingContext(ctx, strings.ToLower(name), v)
		}
	}
	out := new(wrapperspb.StringValue)
	if err := conn.Invoke(ctx, Method, new(emptypb.Empty), out); err != nil {
		return "", err
	}
	return out.GetValue(), nil
}

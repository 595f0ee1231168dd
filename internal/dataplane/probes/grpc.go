// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package probes

import (
	"context"
	"fmt"
	"net"
	"net/http"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"tulle.dev/tulle/internal/dataplane/wire"
	"tulle.dev/tulle/internal/protocol"
)

// grpc is grpc.health.v1.Health/Check in plaintext; only SERVING is success.
func (h *Handler) grpc(ctx context.Context, p *protocol.GRPCProbe, agent string) verdict {
	conn, err := grpc.NewClient("passthrough:///"+h.pod.Addr("", p.Port),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			return h.pod.DialContext(ctx, "tcp", addr)
		}),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(wire.Codec{})),
		grpc.WithUserAgent(agent),
		grpc.WithDisableServiceConfig(),
		grpc.WithNoProxy(),
	)
	if err != nil {
		return failed(err)
	}
	defer conn.Close()
	var answer []byte
	if err := conn.Invoke(ctx, "/grpc.health.v1.Health/Check", wire.HealthRequest(p.Service), &answer); err != nil {
		s := status.Convert(err)
		return verdict{status: http.StatusServiceUnavailable, text: fmt.Sprintf("%s: %s", s.Code(), s.Message())}
	}
	health, err := wire.ParseHealth(answer)
	if err != nil {
		return failed(err)
	}
	if health != wire.HealthServing {
		return verdict{status: http.StatusServiceUnavailable, text: "service is " + health.String()}
	}
	return verdict{status: http.StatusOK, text: health.String()}
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	cachev3 "github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/log"
	resourcev3 "github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	serverv3 "github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"tulle.dev/tulle/internal/controlplane/xds"
)

type serverUp struct {
	usage
	Addr string
}

// changed says which change it was.
type changed struct{ Stamp int64 }

// backend is one of the two servers.
type backend struct {
	grpc   *grpc.Server
	change func(*endpointv3.ClusterLoadAssignment) error
}

func name(i int) string { return fmt.Sprintf("out/ns-%03d/service-%05d/8080", i%100, i) }

// assignment has ten endpoints and the time of the change as a host name.
func assignment(i int, stamp int64) *endpointv3.ClusterLoadAssignment {
	l := &endpointv3.LocalityLbEndpoints{}
	for e := range 10 {
		l.LbEndpoints = append(l.LbEndpoints, &endpointv3.LbEndpoint{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{
			Hostname: fmt.Sprint(stamp),
			Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
				Address: fmt.Sprintf("10.%d.%d.%d", i>>8&255, i&255, e), PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: 8080},
			}}},
		}}})
	}
	return &endpointv3.ClusterLoadAssignment{ClusterName: name(i), Endpoints: []*endpointv3.LocalityLbEndpoints{l}}
}

func serve(s settings, answer *json.Encoder) (func([]string) (any, error), error) {
	backends := map[string]func(settings) (*backend, error){"tulle": tulle, "go-control-plane": goControlPlane}
	b, err := backends[s.Impl](s)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() { _ = b.grpc.Serve(l) }()
	u, err := measureUsage()
	if err != nil {
		return nil, err
	}
	if err := answer.Encode(serverUp{u, l.Addr().String()}); err != nil {
		return nil, err
	}
	turn := 0
	return func(f []string) (any, error) {
		switch f[0] {
		case "cpu":
			return usage{CPU: cpuTime()}, nil
		case "usage":
			return measureUsage()
		case "change":
			turn++
			stamp := time.Now().UnixNano()
			return changed{stamp}, b.change(assignment(turn%s.Hot, stamp))
		}
		return nil, fmt.Errorf("unknown command %v", f)
	}, nil
}

func tulle(s settings) (*backend, error) {
	store := xds.NewStore(xds.Type{URL: resourcev3.EndpointType})
	server, err := xds.NewServer(store, xds.Options{
		Authenticate: func(context.Context) (xds.Principal, error) { return "client", nil },
		Authorize:    func(xds.Principal, xds.Key) bool { return true },
	})
	if err != nil {
		return nil, err
	}
	set := func(c *endpointv3.ClusterLoadAssignment) (xds.Change, error) {
		b, err := proto.Marshal(c)
		return xds.Set(xds.Resource{Key: xds.Key{TypeURL: resourcev3.EndpointType, Name: c.GetClusterName()}, Body: b}), err
	}
	var all []xds.Change
	for i := range s.Names {
		c, err := set(assignment(i, 0))
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	if _, err := store.Commit(all...); err != nil {
		return nil, err
	}
	return &backend{server.NewGRPC(), func(c *endpointv3.ClusterLoadAssignment) error {
		ch, err := set(c)
		if err != nil {
			return err
		}
		_, err = store.Commit(ch)
		return err
	}}, nil
}

func goControlPlane(s settings) (*backend, error) {
	all := map[string]types.Resource{}
	for i := range s.Names {
		all[name(i)] = assignment(i, 0)
	}
	quiet := log.LoggerFuncs{}
	cache := cachev3.NewLinearCache(resourcev3.EndpointType, cachev3.WithInitialResources(all), cachev3.WithLogger(quiet))
	// The same transport settings as ours: what is compared is what happens above it.
	g := grpc.NewServer(grpc.ReadBufferSize(0), grpc.WriteBufferSize(4<<10), grpc.MaxRecvMsgSize(8<<20))
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(g, serverv3.NewServer(context.Background(), cache, nil))
	return &backend{g, func(c *endpointv3.ClusterLoadAssignment) error { return cache.UpdateResource(c.GetClusterName(), c) }}, nil
}

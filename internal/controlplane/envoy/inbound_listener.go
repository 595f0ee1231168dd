// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"tulle.dev/tulle/internal/names"
)

// tlsInspector is the name of the filter that reads TLS hellos.
const tlsInspector = "envoy.filters.listener.tls_inspector"

func listenerFilter(name string, config proto.Message) *listenerv3.ListenerFilter {
	return &listenerv3.ListenerFilter{
		Name:       name,
		ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: typed(config)},
	}
}

// excluded writes down, for people who read the listener, the ports that never reach it.
func excluded(ports []uint16) *corev3.Metadata {
	if len(ports) == 0 {
		return nil
	}
	list := &structpb.ListValue{}
	for _, p := range ports {
		list.Values = append(list.Values, structpb.NewNumberValue(float64(p)))
	}
	return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{names.Group: {
		Fields: map[string]*structpb.Value{"excludedInboundPorts": structpb.NewListValue(list)},
	}}}
}

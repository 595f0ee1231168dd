// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// Listener makes the outbound listener of a Service port. It binds no socket: std/outbound hands it
// the connections whose original destination is one of its addresses. A frontend without addresses
// has no listener: the caller makes none.
func Listener(f model.Frontend) Resource {
	refs := refSet{}
	name := names.Out{
		Namespace: f.Key.Service.Namespace, Service: f.Key.Service.Name, Port: f.Key.Port,
		Node: f.Node, Consumer: f.Consumer,
	}.String()
	var filter *listenerv3.Filter
	switch {
	case f.Protocol.IsHTTP():
		filter = manager{
			place: outbound, stat: name, routes: refs.routes(name),
			host: f.Key.Service.Name + "." + f.Key.Service.Namespace,
		}.filter()
	case len(f.Streams) > 0:
		return listener(byStreams(name, f, refs), refs)
	default:
		filter = bytesToAny(name, f.Backends, f.Affinity, refs)
	}
	return listener(unbound(name, f.Addresses, f.Key.Port, filter), refs)
}

// byStreams is a listener whose connections go where routes of bytes say.
func byStreams(name string, f model.Frontend, refs refSet) *listenerv3.Listener {
	l := unbound(name, f.Addresses, f.Key.Port, nil)
	l.FilterChains = streams{table: name, taken: map[string]bool{}}.chains(f.Streams, refs)
	for _, c := range l.GetFilterChains() {
		if c.GetFilterChainMatch() != nil { // only where it is needed: a server that speaks first would wait for it
			l.ListenerFilters = []*listenerv3.ListenerFilter{
				listenerFilter(tlsInspector, &tlsinspectorv3.TlsInspector{}),
			}
			break
		}
	}
	return l
}

// PodListener makes the outbound listener of one pod of a headless Service, at the pod's own
// address: bytes over mutual TLS, to that pod and no other.
func PodListener(f model.PodFrontend) Resource {
	refs := refSet{}
	name := names.PodListener(f.Pod.Namespace, f.Pod.Name, f.Port)
	filter := bytesTo(name, names.Direct(f.Service.Service.Namespace, f.Service.Service.Name, f.Service.Port), refs)
	return listener(unbound(name, []string{f.Address}, f.Port, filter), refs)
}

func unbound(name string, addresses []string, port uint16, filter *listenerv3.Filter) *listenerv3.Listener {
	l := &listenerv3.Listener{
		Name:                          name,
		FilterChains:                  []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{filter}}},
		BindToPort:                    wrapperspb.Bool(false),
		TrafficDirection:              corev3.TrafficDirection_OUTBOUND,
		PerConnectionBufferLimitBytes: wrapperspb.UInt32(bufferLimit),
	}
	for i, a := range addresses {
		if i == 0 {
			l.Address = address(a, port)
			continue
		}
		l.AdditionalAddresses = append(l.AdditionalAddresses, &listenerv3.AdditionalAddress{Address: address(a, port)})
	}
	return l
}

// tlsInspector is the name of the filter that reads TLS hellos.
const tlsInspector = "envoy.filters.listener.tls_inspector"

func listenerFilter(name string, config proto.Message) *listenerv3.ListenerFilter {
	return &listenerv3.ListenerFilter{
		Name:       name,
		ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: typed(config)},
	}
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package faulty

import (
	"fmt"
	"strings"
	"time"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	commonfaultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/fault/v3"
	faultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/xds"
	"tulle.dev/tulle/internal/names"
)

// Amend returns the function for controlplane.Options.Amend that changes the inbound listeners of sidecars as
// the release does; nil for a release whose control plane has no fault.
func Amend(release string) func([]xds.Change) []xds.Change {
	fault, ok := map[string]func(*listenerv3.Listener){
		Refused: refused,
		Failing: func(l *listenerv3.Listener) {
			filter(l, &faultv3.HTTPFault{Abort: &faultv3.FaultAbort{
				ErrorType: &faultv3.FaultAbort_HttpStatus{HttpStatus: 503}, Percentage: percent(20),
			}})
		},
		Slow: func(l *listenerv3.Listener) {
			filter(l, &faultv3.HTTPFault{Delay: &commonfaultv3.FaultDelay{
				FaultDelaySecifier: &commonfaultv3.FaultDelay_FixedDelay{FixedDelay: durationpb.New(300 * time.Millisecond)}, Percentage: percent(100),
			}})
		},
	}[release]
	if !ok {
		return nil
	}
	return func(changes []xds.Change) []xds.Change {
		out := make([]xds.Change, len(changes))
		for i, c := range changes {
			if r := &c.Resource; !c.Remove && r.TypeURL == envoy.ListenerType && names.IsInbound(r.Name) {
				l := &listenerv3.Listener{}
				must(proto.Unmarshal(r.Body, l))
				fault(l)
				body, err := proto.MarshalOptions{Deterministic: true}.Marshal(l)
				must(err)
				r.Body, r.Version = body, xds.VersionOf(body)
			}
			out[i] = c
		}
		return out
	}
}

// refused gives two chains the same name.
func refused(l *listenerv3.Listener) {
	l.FilterChains = append(l.FilterChains, proto.Clone(l.GetFilterChains()[0]).(*listenerv3.FilterChain))
}

// filter puts a fault in front of the other HTTP filters.
func filter(l *listenerv3.Listener, fault *faultv3.HTTPFault) {
	first := &hcmv3.HttpFilter{Name: "envoy.filters.http.fault", ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: packed(fault)}}
	for _, chain := range l.GetFilterChains() {
		for _, f := range chain.GetFilters() {
			if !strings.HasSuffix(f.GetTypedConfig().GetTypeUrl(), ".HttpConnectionManager") {
				continue
			}
			h := &hcmv3.HttpConnectionManager{}
			must(f.GetTypedConfig().UnmarshalTo(h))
			h.HttpFilters = append([]*hcmv3.HttpFilter{first}, h.GetHttpFilters()...)
			f.ConfigType = &listenerv3.Filter_TypedConfig{TypedConfig: packed(h)}
		}
	}
}

func packed(m proto.Message) *anypb.Any {
	a := &anypb.Any{}
	must(anypb.MarshalFrom(a, m, proto.MarshalOptions{Deterministic: true}))
	return a
}

func percent(n uint32) *typev3.FractionalPercent { return &typev3.FractionalPercent{Numerator: n} }

func must(err error) {
	if err != nil {
		panic(fmt.Sprintf("a fault for tests: %v", err))
	}
}

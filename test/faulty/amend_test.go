// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package faulty

import (
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/proto"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/xds"
	"tulle.dev/tulle/internal/names"
)

// TestAmend: a release with a fault in its control plane changes the inbound listeners of sidecars and nothing
// else, without changing what it was given.
func TestAmend(t *testing.T) {
	inbound := envoy.Inbound(model.Inbound{Pod: model.Key{Namespace: "shop", Name: "cart-0"}})
	body, err := inbound.Body()
	if err != nil {
		t.Fatal(err)
	}
	of := func(name string) xds.Change {
		return xds.Set(xds.Resource{Key: xds.Key{TypeURL: envoy.ListenerType, Name: name}, Version: "1", Body: body})
	}
	given := []xds.Change{of(names.Inbound("shop", "cart-0")), of("out/shop/cart/80")}
	for _, release := range Releases() {
		amend := Amend(release)
		if atProxy := release == Crashing || release == Cutting; atProxy != (amend == nil) {
			t.Errorf("%s: the control plane has a fault: %v", release, amend != nil)
		}
		if amend == nil {
			continue
		}
		out := amend(given)
		if out[0].Resource.Version == "1" || proto.Equal(parse(t, out[0]), parse(t, given[0])) {
			t.Errorf("%s does nothing", release)
		}
		if string(out[1].Resource.Body) != string(body) || out[1].Resource.Version != "1" {
			t.Errorf("%s changes an outbound listener", release)
		}
		if string(given[0].Resource.Body) != string(body) || given[0].Resource.Version != "1" {
			t.Errorf("%s changed what it was given", release)
		}
	}
	if Amend("0.3.0") != nil {
		t.Error("a release without a fault has one")
	}
}

func parse(t *testing.T, c xds.Change) *listenerv3.Listener {
	t.Helper()
	l := &listenerv3.Listener{}
	if err := proto.Unmarshal(c.Resource.Body, l); err != nil {
		t.Fatal(err)
	}
	return l
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"net/netip"
	"testing"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// TestGrown: proxies spread when a replica joins those that serve, and not when the Service moves to
// another revision, when a replica goes, or when this one has only begun to serve.
func TestGrown(t *testing.T) {
	const self = "192.0.2.1"
	slice := func(addresses ...string) model.Slice {
		s := model.Slice{}
		s.Service = model.Key{Namespace: names.SystemNamespace, Name: names.ControlPlaneService}
		for _, a := range addresses {
			s.Endpoints = append(s.Endpoints, model.SliceEndpoint{Addr: netip.MustParseAddr(a), Ready: true})
		}
		return s
	}
	for _, c := range []struct {
		name          string
		before, after []string
		want          bool
	}{
		{"one more", []string{self}, []string{self, "192.0.2.2"}, true},
		{"one of two went", []string{self, "192.0.2.2"}, []string{self}, false},
		{"one was replaced", []string{self, "192.0.2.2"}, []string{self, "192.0.2.3"}, false},
		{"this one came", []string{"192.0.2.2"}, []string{"192.0.2.2", self}, false},
		{"the Service moved", []string{self}, []string{"192.0.2.8", "192.0.2.9"}, false},
		{"the Service moved here", []string{"192.0.2.8"}, []string{self, "192.0.2.9"}, false},
	} {
		f := &feed{peers: peers{}, self: self, moved: make(chan struct{})}
		k := model.Key{Namespace: names.SystemNamespace, Name: "s"}
		f.peers.take(k, slice(c.before...), names.SystemNamespace)
		before, _ := f.crew()
		f.peers.take(k, slice(c.after...), names.SystemNamespace)
		after, _ := f.crew()
		if got := grown(before, after); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

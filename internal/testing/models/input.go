// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package models

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// Input is a golden case's in.yaml: pieces of the model, each translated by itself.
type Input struct {
	// Common lists std/* in the output too; they are part of the world in any case.
	Common       bool
	Frontends    []model.Frontend
	PodFrontends []model.PodFrontend
	Tables       []model.RouteTable
	Backends     []model.Backend
	Endpoints    []model.Endpoints
	Inbounds     []model.Inbound
	GatewayPorts []model.GatewayPort
	Peers        []model.Peers
	Trust        *struct{ Roots, TrustDomain string }
	TLSSecrets   []struct {
		Gateway model.Key
		Secret  model.TLSSecret
	}
	BackendCAs     []model.BackendCA
	GatewayClients []model.GatewayClients
	SystemRoots    string
	Scopes         []model.Scope
	// What clients without a proxy get; NoBackend is their share of what is invalid.
	ClientTargets   []model.ClientTarget
	ClientTables    []model.RouteTable
	ClientBackends  []model.ClientBackend
	ClientEndpoints []model.ClientEndpoints
	NoBackend       bool
}

// Resources translates each piece, in the order of the fields.
func (in Input) Resources() []envoy.Resource {
	var out []envoy.Resource
	in.Each(func(r envoy.Resource, _ any) { out = append(out, r) })
	return out
}

// Each translates each piece, in the order of the fields, and tells what of the model it was made from.
func (in Input) Each(see func(made envoy.Resource, from any)) {
	if in.Common {
		for _, r := range envoy.Common(model.Settings{}) {
			see(r, model.Settings{})
		}
	}
	for _, b := range in.Backends {
		see(envoy.Cluster(b), b)
	}
	for _, e := range in.Endpoints {
		see(envoy.Endpoints(e), e)
	}
	for _, f := range in.Frontends {
		name := names.Out{Namespace: f.Key.Service.Namespace, Service: f.Key.Service.Name, Port: f.Key.Port, Node: f.Node, Consumer: f.Consumer}.String()
		f.Streams = split(model.StreamTable{Name: name, Streams: f.Streams}, see)
		see(envoy.Listener(f), f)
	}
	for _, f := range in.PodFrontends {
		see(envoy.PodListener(f), f)
	}
	for _, i := range in.Inbounds {
		see(envoy.Inbound(i), i)
	}
	for _, g := range in.GatewayPorts {
		g.Sections = slices.Clone(g.Sections)
		for i := range g.Sections {
			s := &g.Sections[i]
			s.Streams = split(model.StreamTable{Name: s.Table, UDP: g.UDP, Streams: s.Streams}, see)
		}
		see(envoy.GatewayListener(g), g)
	}
	for _, t := range in.Tables {
		see(envoy.Routes(t), t)
	}
	for _, p := range in.Peers {
		see(envoy.PeerSecret(p), p)
	}
	if in.Trust != nil {
		see(envoy.TrustSecret(in.Trust.Roots, in.Trust.TrustDomain), *in.Trust)
	}
	for _, s := range in.TLSSecrets {
		see(envoy.TLSSecret(s.Gateway, s.Secret), s.Secret)
	}
	for _, c := range in.BackendCAs {
		see(envoy.BackendCA(c), c)
	}
	for _, c := range in.GatewayClients {
		see(envoy.GatewayClients(c), c)
	}
	if in.SystemRoots != "" {
		see(envoy.SystemRoots(in.SystemRoots), in.SystemRoots)
	}
	for _, s := range in.Scopes {
		see(envoy.Scope(s), s)
	}
	for _, c := range in.ClientTargets {
		see(envoy.ClientListener(c), c)
	}
	for _, t := range in.ClientTables {
		see(envoy.ClientRoutes(t), t)
	}
	for _, b := range in.ClientBackends {
		see(envoy.ClientCluster(b), b)
	}
	for _, e := range in.ClientEndpoints {
		see(envoy.ClientEndpoints(e), e)
	}
	if in.NoBackend {
		cluster, none := envoy.ClientNoBackend()
		see(cluster, nil)
		see(none, nil)
	}
}

// split returns what streams take, which is for their listener, and translates what is done with it.
func split(t model.StreamTable, see func(made envoy.Resource, from any)) []model.Stream {
	for _, s := range t.Sent() {
		see(envoy.Sent(s), s)
	}
	return t.Taken()
}

// World adds what every proxy holds.
func (in Input) World() []envoy.Resource {
	r := in.Resources()
	if !in.Common {
		r = append(r, envoy.Common(model.Settings{})...)
	}
	return r
}

// Decode reads in.yaml strictly; durations are written as Go does ("10s").
func Decode(t *testing.T, b []byte) Input {
	t.Helper()
	var tree any
	if err := yaml.UnmarshalStrict(b, &tree); err != nil {
		t.Fatal(err)
	}
	durations(t, tree)
	b, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	var in Input
	if err := yaml.UnmarshalStrict(b, &in); err != nil {
		t.Fatal(err)
	}
	return in
}

func durations(t *testing.T, v any) {
	t.Helper()
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			durations(t, e)
		}
	case map[string]any:
		for k, e := range v {
			s, ok := e.(string)
			if ok && (k == "timeout" || k == "backendTimeout" || k == "backoff" || k == "idle" || k == "streamIdle") {
				d, err := time.ParseDuration(s)
				if err != nil {
					t.Fatal(err)
				}
				v[k] = d.Nanoseconds()
				continue
			}
			durations(t, e)
		}
	}
}

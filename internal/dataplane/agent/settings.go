// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"tulle.dev/tulle/internal/dataplane/envoy"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// Settings is all that an agent gets from its pod and its image.
type Settings struct {
	Slot, Kind      string
	Pod, PodUID     string
	Namespace       string
	ServiceAccount  string
	NodeName        string
	Gateway         string // for names.KindGateway
	PodIPs          []netip.Addr
	ControlPlane    string // host name
	Probes          protocol.Probes
	AppMetrics      *protocol.AppMetrics
	Version         string // of the agent
	EnvoyVersion    string
	EnvoyBinary     string
	TokenFile       string
	TrustFile       string
	AddressesFile   string
	Dir             string // the slot's own directory
	AdminSocket     string
	XDSSocket       string
	ListenersSocket string
	// PeerListeners is the other slot's ListenersSocket.
	PeerListeners string
	SteerLock     string
}

// EnvoyBinary is where the image has Envoy.
const EnvoyBinary = "/usr/local/bin/envoy"

// FromEnv reads the settings that injection put into the slot's environment; get is os.Getenv. The
// error names everything that is wrong, not just the first.
func FromEnv(get func(string) string) (Settings, error) {
	s := Settings{
		Slot: get(protocol.EnvSlot), Kind: get(protocol.EnvKind),
		Pod: get(protocol.EnvPod), PodUID: get(protocol.EnvPodUID), Namespace: get(protocol.EnvNamespace),
		ServiceAccount: get(protocol.EnvServiceAccount), NodeName: get(protocol.EnvNode), Gateway: get(protocol.EnvGateway),
		ControlPlane: get(protocol.EnvControlPlane),
		EnvoyBinary:  EnvoyBinary, TokenFile: protocol.TokenFile, TrustFile: protocol.TrustFile, AddressesFile: protocol.AddressesFile, SteerLock: protocol.SteerLock,
	}
	var wrong []error
	need := func(name, value string) {
		if value == "" {
			wrong = append(wrong, fmt.Errorf("%s is not set", name))
		}
	}
	need(protocol.EnvPod, s.Pod)
	need(protocol.EnvPodUID, s.PodUID)
	need(protocol.EnvNamespace, s.Namespace)
	need(protocol.EnvControlPlane, s.ControlPlane)
	if s.Slot != "a" && s.Slot != "b" {
		wrong = append(wrong, fmt.Errorf("%s=%q: must be a or b", protocol.EnvSlot, s.Slot))
	}
	switch s.Kind {
	case names.KindSidecar:
	case names.KindGateway:
		need(protocol.EnvGateway, s.Gateway)
	default:
		wrong = append(wrong, fmt.Errorf("%s=%q: must be %s or %s", protocol.EnvKind, s.Kind, names.KindSidecar, names.KindGateway))
	}
	for _, f := range strings.Split(get(protocol.EnvPodIPs), ",") {
		ip, err := netip.ParseAddr(strings.TrimSpace(f))
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", protocol.EnvPodIPs, err))
			continue
		}
		s.PodIPs = append(s.PodIPs, ip.Unmap())
	}
	if v := get(protocol.EnvProbes); v != "" {
		if err := json.Unmarshal([]byte(v), &s.Probes); err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", protocol.EnvProbes, err))
		}
	}
	if v := get(protocol.EnvMetrics); v != "" {
		s.AppMetrics = &protocol.AppMetrics{}
		if err := json.Unmarshal([]byte(v), s.AppMetrics); err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", protocol.EnvMetrics, err))
		}
	}
	peer := "a"
	if s.Slot == "a" {
		peer = "b"
	}
	s.Dir, s.AdminSocket, s.XDSSocket = protocol.SlotDir(s.Slot), protocol.AdminSocket(s.Slot), protocol.XDSSocket(s.Slot)
	s.ListenersSocket, s.PeerListeners = protocol.ListenersSocket(s.Slot), protocol.ListenersSocket(peer)
	return s, errors.Join(wrong...)
}

// scope is the name of the proxy's own scope resource.
func (s Settings) scope() string {
	if s.Kind == names.KindGateway {
		return names.ScopeGateway(s.Namespace, s.Gateway)
	}
	return names.ScopeSidecar(s.Namespace, s.Pod)
}

// node is who the proxy says it is, to people: rights come from the certificate.
func (s Settings) node() envoy.Node {
	meta := map[string]string{
		protocol.MetaVersion: s.Version, protocol.MetaEnvoy: s.EnvoyVersion,
		protocol.MetaSlot: s.Slot, protocol.MetaKind: s.Kind,
	}
	return envoy.Node{
		ID:       strings.Join([]string{s.Kind, s.Namespace, s.Pod, s.PodUID}, "."),
		Cluster:  s.ServiceAccount + "." + s.Namespace,
		Metadata: meta,
	}
}

// at is an address of the control plane.
func (s Settings) at(port int) string { return net.JoinHostPort(s.ControlPlane, strconv.Itoa(port)) }

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package agent

import (
	"io"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// environment is that of a sidecar, as injection writes it.
func environment(change map[string]string) func(string) string {
	env := map[string]string{
		protocol.EnvSlot: "b", protocol.EnvKind: names.KindSidecar, protocol.EnvPod: "cart-0", protocol.EnvPodUID: "uid",
		protocol.EnvPodIPs: "198.18.0.7,fd00::7", protocol.EnvNamespace: "shop", protocol.EnvServiceAccount: "cart",
		protocol.EnvNode: "node-1", protocol.EnvTrustDomain: "cluster.local", protocol.EnvControlPlane: "tulle-controlplane.tulle-system.svc",
		protocol.EnvProbes:  `{"/probe/app/liveness":{"tcp":{"port":80}}}`,
		protocol.EnvMetrics: `{"port":9090,"path":"/metrics"}`,
	}
	for k, v := range change {
		env[k] = v
	}
	return func(k string) string { return env[k] }
}

func TestFromEnv(t *testing.T) {
	s, err := FromEnv(environment(nil))
	if err != nil {
		t.Fatal(err)
	}
	want := Settings{
		Slot: "b", Kind: names.KindSidecar, Pod: "cart-0", PodUID: "uid", Namespace: "shop", ServiceAccount: "cart", NodeName: "node-1",
		PodIPs:       []netip.Addr{netip.MustParseAddr("198.18.0.7"), netip.MustParseAddr("fd00::7")},
		ControlPlane: "tulle-controlplane.tulle-system.svc",
		Probes:       protocol.Probes{"/probe/app/liveness": {TCP: &protocol.TCPProbe{Port: 80}}},
		AppMetrics:   &protocol.AppMetrics{Port: 9090, Path: "/metrics"},
		EnvoyBinary:  EnvoyBinary, TokenFile: protocol.TokenFile, TrustFile: protocol.TrustFile, AddressesFile: protocol.AddressesFile,
		Dir: "/run/tulle/b", AdminSocket: "/run/tulle/b/admin.sock", XDSSocket: "/run/tulle/b/xds.sock",
		ListenersSocket: "/run/tulle/b/listeners.sock", PeerListeners: "/run/tulle/a/listeners.sock", SteerLock: "/run/tulle/steer.lock",
	}
	if d := cmp.Diff(want, s, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if got := s.scope(); got != names.ScopeSidecar("shop", "cart-0") {
		t.Errorf("scope %q", got)
	}
	if got := s.node().ID; got != "sidecar.shop.cart-0.uid" {
		t.Errorf("node %q", got)
	}
	if got := s.at(names.PortADS); got != "tulle-controlplane.tulle-system.svc:15010" {
		t.Errorf("address %q", got)
	}
	g, err := FromEnv(environment(map[string]string{protocol.EnvKind: names.KindGateway, protocol.EnvGateway: "front"}))
	if err != nil || g.scope() != names.ScopeGateway("shop", "front") {
		t.Errorf("gateway: scope %q, %v", g.scope(), err)
	}
}

func TestFromEnvRefuses(t *testing.T) {
	for _, c := range []struct {
		change map[string]string
		say    []string
	}{
		{map[string]string{protocol.EnvSlot: "c", protocol.EnvPod: ""}, []string{`TULLE_SLOT="c"`, "TULLE_POD is not set"}}, // all at once
		{map[string]string{protocol.EnvKind: "waypoint"}, []string{`TULLE_KIND="waypoint": must be sidecar or gateway`}},
		{map[string]string{protocol.EnvKind: names.KindGateway}, []string{"TULLE_GATEWAY is not set"}},
		{map[string]string{protocol.EnvPodIPs: ""}, []string{"TULLE_POD_IPS"}},
		{map[string]string{protocol.EnvProbes: "{"}, []string{"TULLE_PROBES"}},
		{map[string]string{protocol.EnvMetrics: "[]"}, []string{"TULLE_APP_METRICS"}},
	} {
		_, err := FromEnv(environment(c.change))
		for _, say := range c.say {
			if err == nil || !strings.Contains(err.Error(), say) {
				t.Errorf("%v: %v, want an error with %q", c.change, err, say)
			}
		}
	}
}

// TestListeners hands listening sockets over: a connection that waits in one is answered by the taker,
// after the giver has closed its own.
func TestListeners(t *testing.T) {
	have := map[string]net.Listener{}
	for _, name := range []string{agentListener, readyListener} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		have[name] = l
	}
	socket := filepath.Join(t.TempDir(), "listeners.sock")
	stop, err := offerListeners(socket, have)
	if err != nil {
		t.Fatal(err)
	}
	got, err := takeListeners(socket)
	if err != nil || len(got) != 2 {
		t.Fatalf("took %v, %v", got, err)
	}
	waiting := map[string]net.Conn{}
	for name, l := range have {
		if waiting[name], err = net.Dial("tcp", l.Addr().String()); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	for _, l := range have {
		l.Close()
	}
	for name, l := range got {
		if l.Addr().String() != have[name].Addr().String() {
			t.Errorf("%s: took %s, want %s", name, l.Addr(), have[name].Addr())
		}
		l.(*net.TCPListener).SetDeadline(time.Now().Add(5 * time.Second))
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, name)
		c.Close()
		if b, err := io.ReadAll(waiting[name]); err != nil || string(b) != name {
			t.Errorf("%s: the connection that waited got %q, %v", name, b, err)
		}
		l.Close()
	}
	if _, err := takeListeners(socket); err == nil {
		t.Error("took sockets that are offered no more")
	}
}

// TestDependencies keeps the agent small: Envoy's generated types alone would cost more memory than it has.
func TestDependencies(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "tulle.dev/tulle/cmd/tulle-proxy").Output()
	if err != nil {
		t.Fatal(err)
	}
	for d := range strings.Lines(string(out)) {
		for _, heavy := range []string{"github.com/envoyproxy/", "k8s.io/", "sigs.k8s.io/", "tulle.dev/tulle/internal/controlplane", "tulle.dev/tulle/internal/lifecycle", "github.com/vishvananda/"} {
			if strings.HasPrefix(d, heavy) {
				t.Errorf("tulle-proxy links %s", strings.TrimSpace(d))
			}
		}
	}
}

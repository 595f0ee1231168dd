// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package redirect

import (
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"tulle.dev/tulle/internal/names"
)

func app(what string) func(net.Conn) string {
	return func(c net.Conn) string {
		host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
		return what + " sees " + host
	}
}

func proxy(what string) func(net.Conn) string {
	return func(c net.Conn) string { return what + " for " + originalDestination(c) }
}

func TestApply(t *testing.T) {
	pod, peer := newPair(t)
	c, err := Parse("9000", "3306", "198.18.7.1/32")
	if err != nil {
		t.Fatal(err)
	}
	// Twice, and after another table of the same name: applying replaces.
	for _, rules := range [][]Rule{Rules(Config{ExcludeInboundPorts: []uint16{8080}}), Rules(c), Rules(c)} {
		if err := pod.run(0, func() error { return Apply(rules) }); err != nil {
			t.Fatal(err)
		}
	}
	if got := countRules(t, pod); got != len(Rules(c)) {
		t.Errorf("the kernel holds %d rules, want %d", got, len(Rules(c)))
	}

	const user, proxyUser = 1000, names.ProxyUID
	serve(t, pod, proxyUser, "0.0.0.0:15001", proxy("outbound"))
	serve(t, pod, proxyUser, "[::]:15001", proxy("outbound"))
	serve(t, pod, proxyUser, "0.0.0.0:15006", proxy("inbound"))
	serve(t, pod, proxyUser, "[::]:15006", proxy("inbound"))
	serve(t, pod, proxyUser, "0.0.0.0:15020", app("agent"))
	serve(t, pod, proxyUser, "0.0.0.0:15021", app("ready"))
	serve(t, pod, user, "0.0.0.0:8080", app("app"))
	serve(t, pod, user, "[::]:8080", app("app"))
	serve(t, pod, user, "0.0.0.0:9000", app("app"))
	serve(t, pod, user, "127.0.0.1:7070", app("private app"))
	serve(t, peer, 0, "0.0.0.0:8080", app("peer"))
	serve(t, peer, 0, "[::]:8080", app("peer"))
	serve(t, peer, 0, "0.0.0.0:3306", app("peer"))

	for _, c := range []struct {
		name         string
		from         *netns
		uid          int
		source, addr string
		want         string
	}{
		{"the app calls a VIP", pod, user, "", vip + ":80", "outbound for " + vip + ":80"},
		{"the app calls an address that nobody has", pod, user, "", "198.19.9.9:443", "outbound for 198.19.9.9:443"},
		{"root is no exception", pod, 0, "", vip + ":8080", "outbound for " + vip + ":8080"},
		{"the app calls over IPv6", pod, user, "", "[" + peerIP6 + "]:8080", "outbound for [" + peerIP6 + "]:8080"},
		{"the app calls its own pod address", pod, user, "", podIP + ":8080", "outbound for " + podIP + ":8080"},
		{"the app calls itself on localhost", pod, user, "", "127.0.0.1:8080", "app sees 127.0.0.1"},
		{"the app calls itself on ::1", pod, user, "", "[::1]:8080", "app sees ::1"},
		{"the app cannot borrow the inbound proxy's source", pod, user, "127.0.0.6", podIP + ":8080", "outbound for " + podIP + ":8080"},
		{"excluded outbound network", pod, user, "", peerIP + ":8080", "peer sees " + podIP},
		{"excluded outbound port", pod, user, "", vip + ":3306", "peer sees " + podIP},
		{"the proxy calls a peer", pod, proxyUser, "", vip + ":8080", "peer sees " + podIP},
		{"the proxy calls a peer over IPv6", pod, proxyUser, "", "[" + peerIP6 + "]:8080", "peer sees " + podIP6},
		{"the proxy calls its own pod address", pod, proxyUser, "", podIP + ":8080", "inbound for " + podIP + ":8080"},
		{"the proxy calls its own pod address over IPv6", pod, proxyUser, "", "[" + podIP6 + "]:8080", "inbound for [" + podIP6 + "]:8080"},
		{"the inbound proxy calls the app", pod, proxyUser, "127.0.0.6", podIP + ":8080", "app sees 127.0.0.6"},
		{"the inbound proxy calls the app over IPv6", pod, proxyUser, "::1", "[" + podIP6 + "]:8080", "app sees ::1"},
		{"the inbound proxy cannot reach a private port by the pod's address", pod, proxyUser, "127.0.0.6", podIP + ":7070", "refused"},
		{"the proxy's own sockets", pod, proxyUser, "", "127.0.0.1:15020", "agent sees 127.0.0.1"},
		{"a peer calls the app", peer, user, "", podIP + ":8080", "inbound for " + podIP + ":8080"},
		{"a peer calls the app over IPv6", peer, user, "", "[" + podIP6 + "]:8080", "inbound for [" + podIP6 + "]:8080"},
		{"a peer with the proxy's uid is a peer", peer, proxyUser, "", podIP + ":8080", "inbound for " + podIP + ":8080"},
		{"a peer calls a port that is private to the pod", peer, user, "", podIP + ":7070", "inbound for " + podIP + ":7070"},
		{"a peer calls the outbound proxy", peer, user, "", podIP + ":15001", "inbound for " + podIP + ":15001"},
		{"a peer calls the inbound proxy", peer, user, "", podIP + ":15006", "inbound for " + podIP + ":15006"},
		{"the kubelet calls the agent", peer, 0, "", podIP + ":15020", "agent sees " + peerIP},
		{"the kubelet asks for readiness", peer, 0, "", podIP + ":15021", "ready sees " + peerIP},
		{"excluded inbound port", peer, user, "", podIP + ":9000", "app sees " + peerIP},
	} {
		got, err := ask(c.from, c.uid, c.source, c.addr)
		if err != nil || got != c.want {
			t.Errorf("%s: got %q, %v; want %q", c.name, got, err, c.want)
		}
	}
}

// countRules asks the kernel, which also shows that no second chain or table was left behind.
func countRules(t *testing.T, in *netns) (n int) {
	t.Helper()
	err := in.run(0, func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		chains, err := c.ListChains()
		if err != nil {
			return err
		}
		for _, ch := range chains {
			rules, err := c.GetRules(ch.Table, ch)
			if err != nil {
				return err
			}
			n += len(rules)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestApplyExplainsWhatIsMissing(t *testing.T) {
	pod := newNetns(t)
	err := pod.run(0, func() error { return withoutNetAdmin(t, func() error { return Apply(Rules(Config{})) }) })
	if err == nil || !strings.Contains(err.Error(), "lacks NET_ADMIN") {
		t.Errorf("Apply without the capability says %v, want that NET_ADMIN is lacking", err)
	}
}

// TestForwarded: a network behind the pod, as the containers of a docker daemon in it or a virtual
// machine have it. What the pod forwards for it is redirected neither on its way out nor on its way in;
// what it sends to the pod itself is.
func TestForwarded(t *testing.T) {
	pod, peer := newPair(t)
	behind := newNetns(t)
	const gateway, inner = "198.18.8.1", "198.18.8.2"
	join(t, pod, "inner0", gateway+"/24", behind, "eth0", inner+"/24", gateway)
	for _, s := range []struct {
		in *netns
		f  func() error
	}{
		{pod, func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0) }},
		{peer, func() error { return routeVia("198.18.8.0/24", podIP) }},
		{pod, func() error { return Apply(Rules(Config{})) }},
	} {
		if err := s.in.run(0, s.f); err != nil {
			t.Fatal(err)
		}
	}
	const user, proxyUser = 1000, names.ProxyUID
	serve(t, pod, proxyUser, "0.0.0.0:15001", proxy("outbound"))
	serve(t, pod, proxyUser, "0.0.0.0:15006", proxy("inbound"))
	serve(t, peer, 0, "0.0.0.0:8080", app("peer"))
	serve(t, behind, user, "0.0.0.0:8080", app("behind"))
	for _, c := range []struct {
		name string
		from *netns
		addr string
		want string
	}{
		{"from behind to a peer", behind, peerIP + ":8080", "peer sees " + inner},
		{"from behind to a VIP", behind, vip + ":8080", "peer sees " + inner},
		{"from a peer to what is behind", peer, inner + ":8080", "behind sees " + peerIP},
		{"from a peer to the pod", peer, podIP + ":8080", "inbound for " + podIP + ":8080"},
		{"from behind to the pod", behind, gateway + ":8080", "inbound for " + gateway + ":8080"},
		{"from the pod to what is behind", pod, inner + ":8080", "outbound for " + inner + ":8080"},
	} {
		got, err := ask(c.from, user, "", c.addr)
		if err != nil || got != c.want {
			t.Errorf("%s: got %q, %v; want %q", c.name, got, err, c.want)
		}
	}
}

// TestKernelWithoutFib: where the kernel can't tell what is addressed to the pod, all is redirected that arrives.
func TestKernelWithoutFib(t *testing.T) {
	for _, lack := range []error{unix.ENOENT, unix.EOPNOTSUPP} {
		var wrote []Rule
		err := applyBy(func(rules []Rule) error {
			if slices.ContainsFunc(rules, func(r Rule) bool { return r.Local }) {
				return lack
			}
			wrote = rules
			return nil
		}, Rules(Config{}))
		if err != nil || len(wrote) != len(Rules(Config{})) || wrote[len(wrote)-1].RedirectTo != names.PortInbound {
			t.Errorf("%v: %v, wrote %v", lack, err, wrote)
		}
	}
	if err := applyBy(func([]Rule) error { return unix.ENOENT }, Rules(Config{})); err == nil || !strings.Contains(err.Error(), "lacks nf_tables") {
		t.Errorf("a kernel without nf_tables: %v", err)
	}
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package names

import "testing"

// TestOutRoundTrip: Parse(Build(x)) == x for every variant, and nothing else parses.
func TestOutRoundTrip(t *testing.T) {
	for _, o := range []Out{
		{Namespace: "a", Service: "b", Port: 1},
		{Namespace: "a", Service: "b", Port: 65535, Node: "node-1.example"},
		{Namespace: "a", Service: "b", Port: 80, Node: OwnNode},
		{Namespace: "a", Service: "b", Port: 80, Consumer: "c"},
		{Namespace: "a", Service: "b", Port: 53, As: AsDatagrams},
		{Namespace: "a", Service: "b", Port: 80, As: AsBytes, Node: "n"},
		{Namespace: "a", Service: "b", Port: 80, TLS: true},
		{Namespace: "a", Service: "b", Port: 80, TLS: true, Node: "n"},
		{Namespace: "a", Service: "b", Port: 80, GatewayNamespace: "c", Gateway: "d"},
		{Namespace: "a", Service: "b", Port: 80, As: AsBytes, TLS: true},
		{Namespace: "a", Service: "b", Port: 80, As: AsBytes, TLS: true, Node: "n"},
		{Namespace: "a", Service: "b", Port: 80, As: AsBytes, GatewayNamespace: "c", Gateway: "d"},
	} {
		got, err := ParseOut(o.String())
		if err != nil || got != o {
			t.Errorf("%v: %v, %v", o, got, err)
		}
	}
	for _, bad := range []string{"", "out", "out/a/b", "out/a/b/c", "out/a/b/65536", "in/a/b/80", "out/a/b/80/node", "out/a/b/80/zone/x", "out/a/b/80/node/x/y", "out/a/b/80/node/x/as/udp", "out/a/b/80/node/x/consumer/y", "out/a/b/80/as/", "out/a/b/80/tls/tls", "out/a/b/80/tls/consumer/c", "out/a/b/80/tls/gateway/c/d", "out/a/b/80/gateway/c", "out/a/b/80/as/http1/tls", "out/a/b/80/tls/as/bytes", "out/a/b/80/tls/gateway/c/d", "out/a/b/80/gateway/c/d/node/n"} {
		if o, err := ParseOut(bad); err == nil {
			t.Errorf("%q parsed as %+v", bad, o)
		}
	}
}

// TestListenerOf: a table's name leads to the listener that has it.
func TestListenerOf(t *testing.T) {
	for of, want := range map[string]string{
		GatewayPort("ns", "gw", 80):            "gw/ns/gw/80",
		GatewaySection("ns", "gw", 443, "udp"): "gw/ns/gw/443",
		GatewayUDPPort("ns", "gw", 53):         "gw/ns/gw/udp/53",
		"out/ns/svc/80":                        "out/ns/svc/80",
	} {
		if got := ListenerOf(of); got != want {
			t.Errorf("%s: %s, want %s", of, got, want)
		}
	}
}

// TestSPIFFERoundTrip does the same for identities.
func TestSPIFFERoundTrip(t *testing.T) {
	id := SPIFFE{"example.org", "shop", "web"}
	if got, err := ParseSPIFFE(id.String()); err != nil || got != id {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "spiffe://", "https://a/ns/b/sa/c", "spiffe://a/ns/b/sa/", "spiffe://a/ns//sa/c", "spiffe:///ns/b/sa/c", "spiffe://a/ns/b/sa/c/d", "spiffe://a/b/ns/sa/c"} {
		if got, err := ParseSPIFFE(bad); err == nil {
			t.Errorf("%q parsed as %+v", bad, got)
		}
	}
}

// TestRevisionOf: a version becomes part of a DNS label.
func TestRevisionOf(t *testing.T) {
	if got := RevisionOf("0.1.0-rc.1"); got != "0-1-0-rc-1" {
		t.Error(got)
	}
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package redirect

import (
	"fmt"
	"net/netip"
	"strings"

	"tulle.dev/tulle/internal/names"
)

// Rule is one rule of a chain. All its conditions must hold; unset ones don't matter. Every rule is for TCP only.
type Rule struct {
	// Outbound rules see what processes of the pod send, the others what arrives from outside.
	Outbound bool
	// Proxy: sent by the proxy's user.
	Proxy bool
	// Loopback: leaves through lo (outbound), or came through it (inbound).
	Loopback bool
	// Local: addressed to the pod itself, and not to what it forwards to.
	Local bool
	// Source and Destination are networks; the zero Prefix matches anything.
	Source, Destination netip.Prefix
	// Port is the destination port; 0 matches any.
	Port uint16
	// RedirectTo is the proxy's port; 0 leaves the connection alone.
	RedirectTo uint16
	// Why is the reason, for people.
	Why string
}

// Rules are all the rules, in order: the first one that matches decides.
func Rules(c Config) []Rule {
	loopback4 := netip.MustParsePrefix("127.0.0.0/8")
	loopback6 := netip.MustParsePrefix("::1/128")
	inboundSource := netip.MustParsePrefix(names.InboundSource + "/32")
	rules := []Rule{
		{Outbound: true, Proxy: true, Loopback: true, Source: inboundSource, Why: "the inbound proxy and the agent reach the application"},
		// An IPv6 pod has no second loopback address; the proxy's own connections to the pod come from the pod's address, never from ::1.
		{Outbound: true, Proxy: true, Loopback: true, Source: loopback6, Why: "the same over IPv6"},
		{Outbound: true, Proxy: true, Loopback: true, Destination: loopback4, Why: "the proxy's own sockets"},
		{Outbound: true, Proxy: true, Loopback: true, Destination: loopback6, Why: "the proxy's own sockets"},
		{Outbound: true, Proxy: true, Loopback: true, RedirectTo: names.PortInbound, Why: "the pod calls itself through a Service or its own address: through the inbound proxy like any peer"},
		{Outbound: true, Proxy: true, Why: "the proxy's traffic has been through the proxy"},
		{Outbound: true, Destination: loopback4, Why: "inside the pod"},
		{Outbound: true, Destination: loopback6, Why: "inside the pod"},
	}
	for _, p := range c.ExcludeOutboundPorts {
		rules = append(rules, Rule{Outbound: true, Port: p, Why: "excluded outbound port"})
	}
	for _, n := range c.ExcludeOutboundNets {
		rules = append(rules, Rule{Outbound: true, Destination: n, Why: "excluded outbound network"})
	}
	rules = append(rules,
		Rule{Outbound: true, RedirectTo: names.PortOutbound, Why: "everything else the pod sends"},
		Rule{Loopback: true, Why: "sent inside the pod, decided on its way out"},
		Rule{Port: names.PortAgent, Why: "the agent: metrics, health, probes"},
		Rule{Port: names.PortReady, Why: "the agent: readiness"},
	)
	for _, p := range c.ExcludeInboundPorts {
		rules = append(rules, Rule{Port: p, Why: "excluded inbound port"})
	}
	// Not even the proxy's own ports are excepted: arriving connections to them end in Envoy as
	// connections to themselves, which its listeners refuse.
	//
	// What the pod forwards is addressed to others and matches no rule: the connections of containers,
	// virtual machines and networks behind the pod pass as they do without a proxy.
	return append(rules, Rule{Local: true, RedirectTo: names.PortInbound, Why: "everything else that arrives for the pod"})
}

// String writes the rule much as the nft program would.
func (r Rule) String() string {
	var b strings.Builder
	iface := "iif"
	if r.Outbound {
		iface = "oif"
		b.WriteString("output:")
	} else {
		b.WriteString("prerouting:")
	}
	if r.Proxy {
		fmt.Fprintf(&b, " skuid %d", names.ProxyUID)
	}
	if r.Loopback {
		fmt.Fprintf(&b, " %s lo", iface)
	}
	if r.Source.IsValid() {
		fmt.Fprintf(&b, " saddr %s", r.Source)
	}
	if r.Destination.IsValid() {
		fmt.Fprintf(&b, " daddr %s", r.Destination)
	}
	if r.Local {
		b.WriteString(" fib daddr type local")
	}
	if r.Port != 0 {
		fmt.Fprintf(&b, " dport %d", r.Port)
	}
	if r.RedirectTo != 0 {
		fmt.Fprintf(&b, " redirect to :%d", r.RedirectTo)
		return b.String()
	}
	b.WriteString(" accept")
	return b.String()
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package rights

import (
	"testing"

	"tulle.dev/tulle/internal/names"
)

// TestAllow asks, for each kind of proxy, for every kind of resource: its own, a neighbour's and a
// stranger's. What is not in a proxy's list must be refused.
func TestAllow(t *testing.T) {
	sidecar := Proxy{Namespace: "shop", Pod: "web-1", Kind: names.KindSidecar, Node: "n1"}
	gateway := Proxy{Namespace: "shop", Pod: "gw-1", Kind: names.KindGateway, Gateway: "gw", Node: "n1"}
	client := Proxy{Namespace: "shop", Pod: "batch-1", Kind: names.KindClient, Node: "n1"}
	clients := map[string]bool{
		names.Target{Namespace: "shop", Node: "n1", Host: "ledger.bank:80"}.String():                         true,
		names.Target{Namespace: "bank", Node: "n1", Host: "ledger.bank:80"}.String():                         false,
		names.Target{Namespace: "shop", Node: "n2", Host: "ledger.bank:80"}.String():                         false,
		names.Target{Namespace: "shop", Node: "n1", Host: "a/b"}.String():                                    false,
		names.Client(names.Out{Namespace: "bank", Service: "ledger", Port: 80}.String()):                     true,
		names.Client(names.Out{Namespace: "bank", Service: "ledger", Port: 80, Node: "n1"}.String()):         true,
		names.Client(names.Out{Namespace: "bank", Service: "ledger", Port: 80, Node: "n2"}.String()):         false,
		names.Client(names.Out{Namespace: "bank", Service: "ledger", Port: 80, Consumer: "shop"}.String()):   true,
		names.Client(names.Out{Namespace: "bank", Service: "ledger", Port: 80, Consumer: "bank"}.String()):   false,
		names.Client(names.Out{Namespace: "bank", Service: "ledger", Port: 80, Consumer: "shop/x"}.String()): false,
		names.ClientNoBackend: true,
		"client":              false,
		"target":              false,
	}
	for name, want := range clients {
		if got := Allow(client, name); got != want {
			t.Errorf("client, %q: %v, want %v", name, got, want)
		}
		if Allow(sidecar, name) || Allow(gateway, name) {
			t.Errorf("a proxy was allowed %q", name)
		}
	}
	all := map[string]struct{ sidecar, gateway bool }{
		names.Trust:       {true, true},
		names.Outbound:    {true, true},
		names.Passthrough: {true, true},
		names.Out{Namespace: "bank", Service: "ledger", Port: 80}.String():                                {true, true},
		names.Out{Namespace: "bank", Service: "ledger", Port: 80, Node: "n1"}.String():                    {true, true},
		names.Out{Namespace: "bank", Service: "ledger", Port: 80, Node: "n2"}.String():                    {false, false},
		names.Out{Namespace: "bank", Service: "ledger", Port: 80, Node: names.OwnNode}.String():           {true, true},
		names.Out{Namespace: "bank", Service: "ledger", Port: 80, Consumer: "shop"}.String():              {true, true},
		names.Out{Namespace: "bank", Service: "ledger", Port: 80, Consumer: "bank"}.String():              {false, false},
		names.Out{Namespace: "bank", Service: "ledger", Port: 53, As: names.AsDatagrams}.String():         {true, true},
		names.Out{Namespace: "bank", Service: "ledger", Port: 80, As: names.AsBytes, Node: "n2"}.String(): {false, false},
		names.SAN("bank", "ledger"):             {true, true},
		names.Direct("bank", "db", 5432):        {true, false},
		names.PodListener("bank", "db-0", 5432): {true, false},
		"to/10.0.0.1:80":                        {true, false},
		"to/10.0.0.1:080":                       {false, false},
		"to/10.0.0.1:80/x":                      {false, false},
		"to":                                    {false, false},
		names.Account("bank", "ledger"):         {true, false},
		"account/bank":                          {false, false},
		names.Inbound("shop", "web-1"):          {true, false},
		names.Inbound("shop", "web-2"):          {false, false},
		names.Inbound("bank", "web-1"):          {false, false},
		names.ScopeSidecar("shop", "web-1"):     {true, false},
		names.ScopeSidecar("shop", "web-2"):     {false, false},
		names.ScopeMesh:                         {true, false},
		names.ScopeMeshFor("shop"):              {true, false},
		names.ScopeMeshFor("bank"):              {false, false},
		names.ScopeNamespace("bank"):            {true, false},
		names.ScopeNamespaceFor("bank", "shop"): {true, false},
		names.ScopeNamespaceFor("bank", "bank"): {false, false},
		names.ScopeConsumer("shop"):             {true, false},
		names.ScopeConsumer("bank"):             {false, false},
		names.ScopeNode("n1"):                   {true, false},
		names.ScopeNode("n2"):                   {false, false},
		names.Out{Namespace: "bank", Service: "ledger", Port: 80, As: names.AsShared, Consumer: "bank"}.String(): {false, false},
		names.GatewayPort("shop", "gw", 80):              {false, true},
		names.GatewaySection("shop", "gw", 443, "https"): {false, true},
		names.GatewayUDPPort("shop", "gw", 53):           {false, true},
		names.GatewayUDPPort("shop", "other", 53):        {false, false},
		names.GatewayPort("shop", "other", 80):           {false, false},
		names.GatewayPort("bank", "gw", 80):              {false, false},
		names.GatewayTLS("shop", "gw", "shop", "cert"):   {false, true},
		names.GatewayTLS("shop", "gw", "bank", "cert"):   {false, true}, // a ReferenceGrant let it in
		names.GatewayTLS("shop", "other", "shop", "c"):   {false, false},
		names.Stream(names.Out{Namespace: "bank", Service: "db", Port: 5432}.String(), "TCPRoute", "bank", "db"):                   {true, true},
		names.Stream(names.Out{Namespace: "bank", Service: "db", Port: 5432, Node: "n1"}.String(), "TCPRoute", "bank", "db"):       {true, true},
		names.Stream(names.Out{Namespace: "bank", Service: "db", Port: 5432, Node: "n2"}.String(), "TCPRoute", "bank", "db"):       {false, false},
		names.Stream(names.Out{Namespace: "bank", Service: "db", Port: 5432, Consumer: "shop"}.String(), "TLSRoute", "shop", "db"): {true, true},
		names.Stream(names.Out{Namespace: "bank", Service: "db", Port: 5432, Consumer: "bank"}.String(), "TLSRoute", "bank", "db"): {false, false},
		names.Stream(names.GatewaySection("shop", "gw", 443, "tls"), "TLSRoute", "bank", "db"):                                     {false, true},
		names.Stream(names.GatewaySection("shop", "other", 443, "tls"), "TLSRoute", "shop", "db"):                                  {false, false},
		names.Stream(names.Stream(names.GatewayPort("shop", "gw", 80), "a", "b", "c"), "a", "b", "c"):                              {false, false},
		"stream/gw/a/b/c":                        {false, false},
		"stream":                                 {false, false},
		names.ScopeGateway("shop", "gw"):         {false, true},
		names.ScopeGateway("shop", "other"):      {false, false},
		names.Identity:                           {false, false}, // the agent's own
		"":                                       {false, false},
		"*":                                      {false, false},
		"out":                                    {false, false},
		"out/a/b":                                {false, false},
		"in/shop/web-1/":                         {false, false},
		"tls/shop/gw":                            {false, false},
		"std/x/y":                                {false, false},
		"out/bank/ledger/80/gateway/shop/gw":     {false, true},
		"out/bank/ledger/80/gateway/shop/other":  {false, false},
		"out/bank/ledger/80/gateway/bank/gw":     {false, false},
		"out/bank/ledger/80/tls/consumer/shop":   {false, false},
		"out/bank/ledger/80/tls/gateway/shop/gw": {false, false},
		names.BackendCA("bank", "ledger", 80):    {true, true},
		names.GatewayClients("shop", "gw", 443):  {false, true},
		names.GatewayClients("shop", "other", 443): {false, false},
		names.GatewayClients("bank", "gw", 443):    {false, false},
	}
	for name, want := range all {
		if got := Allow(sidecar, name); got != want.sidecar {
			t.Errorf("sidecar, %q: %v, want %v", name, got, want.sidecar)
		}
		if got := Allow(gateway, name); got != want.gateway {
			t.Errorf("gateway, %q: %v, want %v", name, got, want.gateway)
		}
		if Allow(client, name) {
			t.Errorf("a client was allowed %q", name)
		}
		if Allow(Proxy{}, name) || Allow(Proxy{Kind: names.KindGateway, Namespace: "shop"}, names.GatewayPort("shop", "", 80)) {
			t.Errorf("nobody was allowed %q", name)
		}
	}
}

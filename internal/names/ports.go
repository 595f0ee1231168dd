// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package names

// Ports of a meshed pod. All but PortOutbound and PortInbound belong to the agent of the active slot.
const (
	PortOutbound = 15001 // redirected outbound TCP
	PortInbound  = 15006 // redirected inbound TCP
	PortAgent    = 15020 // merged metrics, health, rewritten probes
	PortReady    = 15021 // readiness of the proxy
	PortDNS      = 15053 // DNS proxy
)

// IsProxyPort reports whether the proxy itself listens on a TCP port of its pod.
func IsProxyPort(port uint16) bool {
	switch port {
	case PortOutbound, PortInbound, PortAgent, PortReady, PortDNS:
		return true
	}
	return false
}

// Ports of the control plane.
const (
	PortADS       = 15010 // delta ADS over mutual TLS
	PortSign      = 15012 // certificate signing over TLS, proven by a token
	PortMonitor   = 15014 // metrics and health over plain HTTP
	PortInternal  = 15016 // what the operator, other replicas and the command line read, over TLS with authentication
	PortWebhook   = 15017 // injection webhook
	PortWebhookIn = 443   // the same on the Service
)

// ProxyUID is the user and group of the proxy: traffic of this user is not redirected, and no other container may use it.
const ProxyUID = 1337

// InboundSource is the source address of connections from the inbound proxy to the
// application: it tells them apart from the proxy's own outbound connections to the same pod.
const InboundSource = "127.0.0.6"

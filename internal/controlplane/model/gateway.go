// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package model

import (
	"time"

	"tulle.dev/tulle/internal/virtualhost"
)

// GatewayPort is one port of a Gateway: one Envoy listener. Listeners of Gateway API that share
// the port become sections of it. The same number may be a port for TCP and another one for UDP.
type GatewayPort struct {
	Gateway Key
	Port    uint16
	// UDP ports take datagrams. They have one section, of streams.
	UDP bool `json:",omitzero"` // versions of what does not say it stay as they were
	// TLS ports choose the section by server name; plain ports have one merged table, or streams, in Sections[0].
	TLS      bool
	Sections []GatewaySection
	// XFFHops is how many proxies in front are trusted to have appended to X-Forwarded-For.
	XFFHops uint32
	// IPv6 is set where the Gateway's pods have an IPv6 address: the port is then bound on it too.
	IPv6 bool
	// ProxyProtocol is ProxyProtocolRequire or ProxyProtocolAccept where connections report the address of their client
	// before anything else. If empty, they do not.
	ProxyProtocol string `json:",omitzero"`
	// ClientSettings are for ports that speak HTTP.
	ClientSettings GatewayClientSettings `json:",omitzero"` // versions of what does not say it stay as they were
}

// GatewayClientSettings are what a Gateway says about requests of its clients. The zero value is the default.
type GatewayClientSettings struct {
	// StreamIdle is how long a stream may be silent. If 0, it is the constant StreamIdle; Unlimited is for ever.
	StreamIdle time.Duration `json:",omitzero"`
	// Underscores is what is done with headers that have an underscore in their name. If empty, they are dropped.
	Underscores string `json:",omitzero"`
	// MergeSlashes makes one slash of several in a path.
	MergeSlashes bool `json:",omitzero"`
	// EscapedSlashes is what is done with a path with a percent-encoded slash. If empty, it is kept as it is.
	EscapedSlashes string `json:",omitzero"`
	// Streams is how many requests a client may have on a connection of HTTP/2 at a time. If 0, it is the default.
	Streams uint32 `json:",omitzero"`
	// StreamWindow is how many bytes of a request the client may send ahead with HTTP/2. If 0, it is the default.
	StreamWindow uint32 `json:",omitzero"`
}

// Values of GatewayClientSettings.
const (
	// StreamIdle is how long a stream may be silent at a Gateway that says nothing else.
	StreamIdle = 5 * time.Minute
	// Unlimited is a time without an end.
	Unlimited time.Duration = -1

	UnderscoresReject = "Reject"
	UnderscoresAllow  = "Allow"

	ProxyProtocolRequire = "Require" // connections that do not say it are closed
	ProxyProtocolAccept  = "Accept"

	SlashesReject   = "Reject"   // 400
	SlashesRedirect = "Redirect" // to the path with slashes
	SlashesUnescape = "Unescape" // before the path is brought to its normal form
)

// GatewaySection is a listener of a Gateway.
type GatewaySection struct {
	Name string
	// Hostname is "" (any), exact or "*.example.com".
	Hostname string
	// Certificates are Secrets, in order; TLS ports only.
	Certificates []Key
	// Clients is set where clients are asked for a certificate; TLS ports only.
	Clients *ClientValidation `json:",omitzero"`
	// Table is the name of the section's RouteTable: names.GatewayPort for plain ports, names.GatewaySection for TLS.
	// Of a section of Bytes it is the name of the StreamTable.
	Table string
	// Bytes: what comes is not looked into but goes on by Streams.
	Bytes bool `json:",omitzero"`
	// Passthrough: TLS is not ended here.
	Passthrough bool `json:",omitzero"`
	// Streams of a section of Bytes, of TCP without what is Sent; a connection that none takes is closed.
	Streams []Stream `json:",omitzero"`
}

// GatewayTable is a RouteTable of a Gateway, which agents put together: what its listeners say of it, and
// the names of the parts that its routes have in it.
type GatewayTable struct {
	Name string
	virtualhost.Table
	Parts []string // sorted
}

// RoutePart is what one route has in the table of that name.
type RoutePart struct {
	Table  string
	Source Object
	virtualhost.Part[Rule]
}

// Backends returns the backends that the rules name, sorted, each once, without invalid ones.
func (p RoutePart) Backends() []BackendName {
	var out []BackendName
	for _, r := range p.Rules {
		out = r.Rule.appendBackends(out)
	}
	return distinctNames(out)
}

// TLSSecret is a kubernetes.io/tls Secret. Key is a private key: it is never printed.
type TLSSecret struct {
	Key
	Certificate string
	PrivateKey  Redacted
}

// Redacted is a secret that does not print itself.
type Redacted string

// String hides the value.
func (Redacted) String() string { return "[redacted]" }

// GoString hides the value.
func (Redacted) GoString() string { return "[redacted]" }

// Scope is what one proxy subscribes to; becomes protocol.Scope.
type Scope struct {
	Name                string
	Include             []string
	Clusters, Listeners []string
	Local               []string       `json:",omitzero"` // versions of what has none stay as they were
	Variants            *Variants      `json:",omitzero"`
	Instead             *Scope         `json:",omitzero"` // only Include, Clusters and Listeners
	Tables              []GatewayTable `json:",omitzero"`
	Proxy               *ProxySettings
	// OnDemand are the chains for destinations that have no listener.
	OnDemand []DemandChain `json:",omitzero"`
}

// Variants become protocol.Variants.
type Variants struct {
	Listeners, Routes map[string]string
}

// ProxySettings become protocol.Proxy.
type ProxySettings struct {
	LogLevel                   string
	Concurrency                int
	DrainSeconds               int32
	CertificateLifetimeSeconds int64
	RenewIssuedBefore          int64 `json:",omitzero"`
}

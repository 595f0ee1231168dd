// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package protocol

import "strings"

// Probes are the application's probes and lifecycle hooks that injection moved to the agent: the
// kubelet asks the agent's PortAgent, the agent asks the application inside the pod, bypassing the
// redirection. The agent answers exactly these paths and no others.
type Probes map[string]Probe // key: the path on the agent, see ProbePath

// ProbePrefix is what every path of a probe on the agent begins with.
const ProbePrefix = "/probe/"

// ProbePath is the agent's path of a container's probe or hook; kind is "startup", "readiness",
// "liveness", "postStart" or "preStop". The agent's port is open to any client that can reach the pod, so
// the token, which is random for each injection, keeps these paths from clients that cannot read the pod.
func ProbePath(token, container, kind string) string {
	return ProbePrefix + token + "/" + container + "/" + kind
}

// GuessablePath is the path that releases before 0.3 recorded. Agents go on answering it in the pods that
// have it, as any path that is recorded. Injection no longer writes it.
func GuessablePath(container, kind string) string { return ProbePrefix + container + "/" + kind }

// probeTokenLength is the number of hexadecimal digits of a token: 128 bits.
const probeTokenLength = 32

// ValidProbeToken reports whether the text is a token for ProbePath: 128 bits in lower-case hexadecimal.
func ValidProbeToken(token string) bool {
	return len(token) == probeTokenLength && strings.Trim(token, "0123456789abcdef") == ""
}

// ProbeToken returns the token in a path that ProbePath returned, and "" for any other text.
func ProbeToken(path string) string {
	rest, ok := strings.CutPrefix(path, ProbePrefix)
	if !ok {
		return ""
	}
	token, rest, _ := strings.Cut(rest, "/")
	if !ValidProbeToken(token) || strings.Count(rest, "/") != 1 {
		return ""
	}
	return token
}

// IsHook reports whether the path of a probe is that of a lifecycle hook.
func IsHook(path string) bool {
	return strings.HasSuffix(path, "/postStart") || strings.HasSuffix(path, "/preStop")
}

// ProbeHeader is a request header of a probe or hook that injection moved. Its value is the original
// handler, as JSON of the Kubernetes API ({"tcpSocket":{"port":5432}}): so the original is known from
// the moved probe alone, even when a copy of the pod lacks everything else. The agent ignores it.
const ProbeHeader = "X-Tulle-Probe"

// Probe is one original probe. Exactly one of HTTP, GRPC and TCP is set.
type Probe struct {
	HTTP *HTTPProbe `json:"http,omitempty"`
	GRPC *GRPCProbe `json:"grpc,omitempty"`
	TCP  *TCPProbe  `json:"tcp,omitempty"`
	// TimeoutSeconds is the original timeout; 0 means 1.
	TimeoutSeconds int32 `json:"timeoutSeconds,omitempty"`
}

// HTTPProbe is an HTTP GET; any status from 200 to 399 is success. Certificates are not checked, as by the kubelet.
type HTTPProbe struct {
	Host    string      `json:"host,omitempty"` // empty: the pod's address
	Port    uint16      `json:"port"`
	Path    string      `json:"path"`
	Scheme  string      `json:"scheme,omitempty"` // HTTP (default) or HTTPS
	Headers [][2]string `json:"headers,omitempty"`
}

// GRPCProbe is grpc.health.v1.Health/Check.
type GRPCProbe struct {
	Port    uint16 `json:"port"`
	Service string `json:"service,omitempty"`
}

// TCPProbe is a connection.
type TCPProbe struct {
	Host string `json:"host,omitempty"` // empty: the pod's address
	Port uint16 `json:"port"`
}

// AppMetrics is where the application serves Prometheus metrics, from its prometheus.io/ annotations.
type AppMetrics struct {
	Port uint16 `json:"port"`
	Path string `json:"path"`
}

// MaxExcludedInboundPorts is how many ports a pod may exclude (names.AnnotationExcludeInboundPorts). The control plane
// compares them with each port of each Service in front of the pod, and its proxy's listener names them.
const MaxExcludedInboundPorts = 64

// Injected is the value of names.AnnotationInjected.
type Injected struct {
	Version  string `json:"version"`
	Revision string `json:"revision"`
	// ExcludedInboundPorts are served by the application without the proxy; peers send them plaintext.
	ExcludedInboundPorts []uint16 `json:"excludedInboundPorts,omitempty"`
	// Warnings are ways round the mesh that the pod's author left open (NET_ADMIN, privileged).
	Warnings []string `json:"warnings,omitempty"`
	// AppMetrics is where the application's metrics were before the scrape annotations were moved.
	AppMetrics *AppMetrics `json:"appMetrics,omitempty"`
	// AddedToPod is what injection added to the requests and limits of the pod as a whole
	// (spec.resources), by resource, as Kubernetes quantities.
	AddedToPod map[string]string `json:"addedToPod,omitempty"`
}

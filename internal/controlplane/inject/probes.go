// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package inject

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// hookTimeout is how long the agent lets a lifecycle hook take, in seconds: the kubelet sets no
// limit but the pod's end, so this one is only there to end at all.
const hookTimeout = 3600

// aim is one place in a container where the kubelet may be told to send a request: exactly one of
// http, tcp and grpc is set.
type aim struct {
	kind    string // as in protocol.ProbePath
	timeout int32
	http    *corev1.HTTPGetAction
	tcp     *corev1.TCPSocketAction
	grpc    *corev1.GRPCAction

	// What changes the pod: the handler of a probe or of a hook, and its removal.
	probe  *corev1.ProbeHandler
	hook   *corev1.LifecycleHandler
	remove func()
}

// aims lists the probes and hooks of a container that go to the pod over the network. Exec probes
// and sleeps don't. One with a host of its own goes there, not to the pod, and a TCP hook goes
// nowhere: the kubelet refuses it, with or without a mesh. All these stay as they are.
func aims(c *corev1.Container) []aim {
	var out []aim
	for _, p := range []struct {
		kind  string
		probe **corev1.Probe
	}{{"startup", &c.StartupProbe}, {"readiness", &c.ReadinessProbe}, {"liveness", &c.LivenessProbe}} {
		if *p.probe == nil {
			continue
		}
		h := &(*p.probe).ProbeHandler
		a := aim{kind: p.kind, timeout: (*p.probe).TimeoutSeconds, probe: h, remove: func() { *p.probe = nil }}
		switch {
		case h.HTTPGet != nil && h.HTTPGet.Host == "":
			a.http = h.HTTPGet
		case h.TCPSocket != nil && h.TCPSocket.Host == "":
			a.tcp = h.TCPSocket
		case h.GRPC != nil:
			a.grpc = h.GRPC
		default:
			continue
		}
		out = append(out, a)
	}
	if c.Lifecycle == nil {
		return out
	}
	for _, p := range []struct {
		kind string
		hook **corev1.LifecycleHandler
	}{{"postStart", &c.Lifecycle.PostStart}, {"preStop", &c.Lifecycle.PreStop}} {
		if h := *p.hook; h != nil && h.HTTPGet != nil && h.HTTPGet.Host == "" {
			out = append(out, aim{kind: p.kind, timeout: hookTimeout, http: h.HTTPGet, hook: h, remove: func() { *p.hook = nil }})
		}
	}
	return out
}

// handler is what the aim is now.
func (a aim) handler() corev1.ProbeHandler {
	if a.hook != nil {
		return corev1.ProbeHandler{HTTPGet: a.hook.HTTPGet}
	}
	return *a.probe
}

// accepts tells whether the aim may become h: a hook has no other kind than HTTP.
func (a aim) accepts(h corev1.ProbeHandler) bool {
	return h.HTTPGet != nil || a.hook == nil && (h.TCPSocket != nil || h.GRPC != nil)
}

// put changes the aim.
func (a aim) put(h corev1.ProbeHandler) {
	if a.hook != nil {
		a.hook.HTTPGet = h.HTTPGet
		return
	}
	*a.probe = h
}

// port is where the aim points, still unresolved.
func (a aim) port() intstr.IntOrString {
	switch {
	case a.http != nil:
		return a.http.Port
	case a.tcp != nil:
		return a.tcp.Port
	}
	return intstr.FromInt32(a.grpc.Port)
}

// record says what the agent must ask in the kubelet's stead.
func (a aim) record(port uint16) protocol.Probe {
	p := protocol.Probe{}
	if a.timeout > 1 { // the API server writes the default into pods: written here, it would make another record
		p.TimeoutSeconds = a.timeout
	}
	switch {
	case a.tcp != nil:
		p.TCP = &protocol.TCPProbe{Port: port}
	case a.grpc != nil:
		p.GRPC = &protocol.GRPCProbe{Port: port}
		if a.grpc.Service != nil {
			p.GRPC.Service = *a.grpc.Service
		}
	default:
		p.HTTP = &protocol.HTTPProbe{Port: port, Path: a.http.Path}
		if a.http.Scheme != corev1.URISchemeHTTP { // the default is left out
			p.HTTP.Scheme = string(a.http.Scheme)
		}
		for _, h := range a.http.HTTPHeaders {
			p.HTTP.Headers = append(p.HTTP.Headers, [2]string{h.Name, h.Value})
		}
	}
	return p
}

// move points the aim at the agent's path. The original goes along in a header.
func (a aim) move(path string) {
	original, err := json.Marshal(a.handler())
	if err != nil {
		// Strings and numbers always encode.
		panic("inject: " + err.Error())
	}
	a.put(corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
		Path: path, Port: intstr.FromInt32(names.PortAgent), Scheme: corev1.URISchemeHTTP,
		HTTPHeaders: []corev1.HTTPHeader{{
			Name: protocol.ProbeHeader,
			// JSON escapes all that may not be in a header but this one.
			Value: strings.ReplaceAll(string(original), "\x7f", `\u007f`),
		}},
	}})
}

// moveProbes points the probes and hooks of all containers at the agent, which asks the application
// inside the pod, past the redirection. It returns all that the agent must answer, and a warning for
// each that could not be moved. The token is part of the paths, see protocol.ProbePath.
func moveProbes(pod *corev1.Pod, token string) (protocol.Probes, []string) {
	out := protocol.Probes{}
	var warnings []string
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			c := &list[i]
			for _, a := range aims(c) {
				given := a.port()
				port, ok := portOf(c, given)
				if !ok {
					warnings = append(warnings, fmt.Sprintf("%s of container %s names port %q, which the container does not have: it stays as it is",
						a.kind, c.Name, given.String()))
					continue
				}
				path := protocol.ProbePath(token, c.Name, a.kind)
				out[path] = a.record(port)
				a.move(path)
			}
		}
	}
	if len(out) == 0 {
		return nil, warnings
	}
	return out, warnings
}

// maxEnvironment is the length of the longest variable that Linux starts a program with, in bytes.
const maxEnvironment = 128<<10 - 1

// tooLong refuses probes that the slots can't be told of by their environment; "" for others.
func tooLong(moved protocol.Probes) string {
	text, err := json.Marshal(moved)
	if err != nil {
		// Strings and numbers always encode.
		panic("inject: " + err.Error())
	}
	if n := len(protocol.EnvProbes) + 2 + len(text) + strings.Count(string(text), "$"); n > maxEnvironment {
		return fmt.Sprintf("the probes and hooks of the pod are %d bytes long, and at most %d can be moved to the proxy: shorten their paths and headers", n, maxEnvironment)
	}
	return ""
}

// portOf resolves a probe's port as the kubelet does: a number, the name of one of the container's
// ports, or a number written as text.
func portOf(c *corev1.Container, p intstr.IntOrString) (uint16, bool) {
	n := p.IntValue()
	if p.Type == intstr.String {
		i := slices.IndexFunc(c.Ports, func(q corev1.ContainerPort) bool { return q.Name == p.StrVal && p.StrVal != "" })
		if i >= 0 {
			n = int(c.Ports[i].ContainerPort)
		} else if v, err := strconv.Atoi(p.StrVal); err == nil {
			n = v
		} else {
			n = 0
		}
	}
	if n < 1 || n > 65535 {
		return 0, false
	}
	return uint16(n), true
}

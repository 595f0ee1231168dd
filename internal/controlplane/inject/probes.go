// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package inject

import (
	"fmt"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// hookTimeout is how long the agent lets a lifecycle hook take, in seconds: the kubelet sets no
// limit but the pod's end, so this one is only there to end at all.
const hookTimeout = 3600

// aim is one place in a container where the kubelet may be told to send a request: exactly one of
// the pointers is set, and writing through it changes the pod.
type aim struct {
	kind    string // as in protocol.ProbePath
	timeout int32
	http    *corev1.HTTPGetAction
	tcp     *corev1.TCPSocketAction
	grpc    *corev1.GRPCAction
	handler *corev1.ProbeHandler // of tcp and grpc, which become http
}

// aims lists the probes and hooks of a container that go to the pod over the network. Exec probes
// and sleeps don't. One with a host of its own goes there, not to the pod, and a TCP hook goes
// nowhere: the kubelet refuses it, with or without a mesh. All these stay as they are.
func aims(c *corev1.Container) []aim {
	var out []aim
	for _, p := range []struct {
		kind  string
		probe *corev1.Probe
	}{{"startup", c.StartupProbe}, {"readiness", c.ReadinessProbe}, {"liveness", c.LivenessProbe}} {
		if p.probe == nil {
			continue
		}
		h, timeout := &p.probe.ProbeHandler, p.probe.TimeoutSeconds
		switch {
		case h.HTTPGet != nil && h.HTTPGet.Host == "":
			out = append(out, aim{kind: p.kind, timeout: timeout, http: h.HTTPGet})
		case h.TCPSocket != nil && h.TCPSocket.Host == "":
			out = append(out, aim{kind: p.kind, timeout: timeout, tcp: h.TCPSocket, handler: h})
		case h.GRPC != nil:
			out = append(out, aim{kind: p.kind, timeout: timeout, grpc: h.GRPC, handler: h})
		}
	}
	if c.Lifecycle == nil {
		return out
	}
	for _, p := range []struct {
		kind string
		hook *corev1.LifecycleHandler
	}{{"postStart", c.Lifecycle.PostStart}, {"preStop", c.Lifecycle.PreStop}} {
		if p.hook != nil && p.hook.HTTPGet != nil && p.hook.HTTPGet.Host == "" {
			out = append(out, aim{kind: p.kind, timeout: hookTimeout, http: p.hook.HTTPGet})
		}
	}
	return out
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

// moved tells whether an earlier pass has moved the aim, and what it was.
func (a aim) moved(container string, recorded protocol.Probes) (protocol.Probe, bool) {
	path := protocol.ProbePath(container, a.kind)
	if a.http == nil || a.http.Path != path || a.http.Port != intstr.FromInt32(names.PortAgent) {
		return protocol.Probe{}, false
	}
	p, ok := recorded[path]
	return p, ok
}

// record says what the agent must ask in the kubelet's stead.
func (a aim) record(port uint16) protocol.Probe {
	p := protocol.Probe{TimeoutSeconds: a.timeout}
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

// move points the aim at the agent.
func (a aim) move(container string) {
	get := corev1.HTTPGetAction{
		Path: protocol.ProbePath(container, a.kind), Port: intstr.FromInt32(names.PortAgent), Scheme: corev1.URISchemeHTTP,
	}
	if a.http != nil {
		*a.http = get
		return
	}
	*a.handler = corev1.ProbeHandler{HTTPGet: &get}
}

// moveProbes points the probes and hooks of all containers at the agent, which asks the application
// inside the pod, past the redirection. recorded are those of an earlier pass. It returns all that
// the agent must answer, and a warning for each that could not be moved.
func moveProbes(pod *corev1.Pod, recorded protocol.Probes) (protocol.Probes, []string) {
	out := protocol.Probes{}
	var warnings []string
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			c := &list[i]
			for _, a := range aims(c) {
				path := protocol.ProbePath(c.Name, a.kind)
				if was, ok := a.moved(c.Name, recorded); ok {
					out[path] = was
					continue
				}
				given := a.port()
				port, ok := portOf(c, given)
				if !ok {
					warnings = append(warnings, fmt.Sprintf("%s of container %s names port %q, which the container does not have: it stays as it is",
						a.kind, c.Name, given.String()))
					continue
				}
				out[path] = a.record(port)
				a.move(c.Name)
			}
		}
	}
	if len(out) == 0 {
		return nil, warnings
	}
	return out, warnings
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

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package inject

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// Annotations by which Prometheus is commonly told to scrape a pod.
const (
	scrapeAnnotation       = "prometheus.io/scrape"
	scrapePortAnnotation   = "prometheus.io/port"
	scrapePathAnnotation   = "prometheus.io/path"
	scrapeSchemeAnnotation = "prometheus.io/scheme"
	// agentMetricsPath is where the agent serves its own, Envoy's and the application's metrics.
	agentMetricsPath = "/metrics"
	defaultScheme    = "http"
	// maxMetricsPath bounds what is copied to several places of the pod.
	maxMetricsPath = 2 << 10
)

// moveMetrics points a pod's scrape annotations at the agent, which merges what the application
// serves. was is what an earlier injection moved; nil: nothing, or it is not known. A pod that does not
// ask to be scraped stays as it is.
func moveMetrics(pod *corev1.Pod, was *protocol.AppMetrics) (*protocol.AppMetrics, string) {
	a := pod.Annotations
	if a[scrapeAnnotation] != "true" {
		return nil, ""
	}
	agent := strconv.Itoa(names.PortAgent)
	if a[scrapePortAnnotation] == agent {
		if was != nil {
			return was, ""
		}
		if port, ok := onlyPort(pod); ok {
			return &protocol.AppMetrics{Port: port, Path: agentMetricsPath}, ""
		}
		return nil, fmt.Sprintf("%s is %s, the proxy's own port, and the application's is not known: only the proxy's metrics are served; "+
			"set the application's port where the pod is defined", scrapePortAnnotation, quote(agent))
	}
	if s := a[scrapeSchemeAnnotation]; s != "" && !strings.EqualFold(s, defaultScheme) {
		return nil, fmt.Sprintf("%s is %s: only http metrics are merged, so this pod's stay where they are", scrapeSchemeAnnotation, quote(s))
	}
	port, ok := scrapePort(pod)
	if !ok {
		return nil, fmt.Sprintf("%s is %s: without the number of one port the metrics are not merged", scrapePortAnnotation, quote(a[scrapePortAnnotation]))
	}
	path := a[scrapePathAnnotation]
	if path == "" {
		path = agentMetricsPath
	}
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	if len(path) > maxMetricsPath {
		return nil, fmt.Sprintf("%s is longer than %d characters: the metrics are not merged", scrapePathAnnotation, maxMetricsPath)
	}
	a[scrapePortAnnotation], a[scrapePathAnnotation] = agent, agentMetricsPath
	return &protocol.AppMetrics{Port: port, Path: path}, ""
}

// scrapePort is the annotated port, or else the only TCP port that the pod's containers declare.
func scrapePort(pod *corev1.Pod) (uint16, bool) {
	if v, set := pod.Annotations[scrapePortAnnotation]; set {
		n, ok := number(v, 1, 65535)
		return uint16(n), ok && !ourPort(n)
	}
	return onlyPort(pod)
}

// onlyPort is the one TCP port that the pod's containers declare.
func onlyPort(pod *corev1.Pod) (uint16, bool) {
	var ports []uint16
	for _, c := range pod.Spec.Containers {
		for _, p := range c.Ports {
			if (p.Protocol == corev1.ProtocolTCP || p.Protocol == "") && p.ContainerPort > 0 && p.ContainerPort <= 65535 {
				ports = append(ports, uint16(p.ContainerPort))
			}
		}
	}
	slices.Sort(ports)
	if ports = slices.Compact(ports); len(ports) != 1 {
		return 0, false
	}
	return ports[0], true
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayspec

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/clip"
	"tulle.dev/tulle/internal/names"
)

// Settings are what a Gateway says about itself in spec.infrastructure.annotations. What it says about its
// deployment takes precedence over spec.gateway of the Mesh. The zero value leaves everything to the Mesh,
// and to the defaults of Clients.
type Settings struct {
	// Replicas is the number of proxies; nil leaves it to the Mesh. Autoscaling is nil then.
	Replicas *int32
	// Autoscaling is nil if the Gateway says nothing about it. Replicas is nil then.
	Autoscaling *Autoscaling
	// ServiceType is LoadBalancer, NodePort or ClusterIP; empty leaves it to the Mesh.
	ServiceType string
	// ExternalTrafficPolicy is Cluster or Local; empty leaves it to the Mesh.
	ExternalTrafficPolicy string
	// ProxyProtocol is Require or Accept if a load balancer reports addresses of clients by the PROXY protocol. If
	// empty, there is none.
	ProxyProtocol string
	// Clients are about requests of the Gateway's clients.
	Clients Clients
}

// Clients are settings about requests of a Gateway's clients. The zero value is the default.
type Clients struct {
	// StreamIdle is how long a stream may be silent; 0 is for ever. If nil, it is 5 minutes.
	StreamIdle *time.Duration
	// Underscores is Drop, Reject or Allow, for headers with an underscore in their name. If empty, it is Drop.
	Underscores string
	// MergeSlashes makes one slash of several in a path.
	MergeSlashes bool
	// EscapedSlashes is Keep, Reject, Redirect or Unescape, for paths with %2F or %5C. If empty, it is Keep.
	EscapedSlashes string
	// Streams is how many requests a client may have on a connection of HTTP/2 at a time; nil: 100.
	Streams *int32
	// StreamWindow is how many bytes of a request the client may send ahead with HTTP/2; nil: 64 KiB.
	StreamWindow *int32
}

// Autoscaling are the bounds of a HorizontalPodAutoscaler.
type Autoscaling struct {
	// Min and Max are the least and the greatest number of proxies.
	Min, Max int32
	// TargetCPUPercent is the CPU that a proxy is to use, in percent of its request.
	TargetCPUPercent int32
}

// Defaults and limits of Settings.
const (
	DefaultMin              = 2
	DefaultTargetCPUPercent = 80
	maxReplicas             = 64
	maxCPUPercent           = 1000
	minStreamIdle           = time.Second
	maxStreams              = 1000
	minWindow, maxWindow    = 64 << 10, 16 << 20
)

// Keys returns the annotations that a Gateway may set, sorted.
func Keys() []string {
	return []string{
		names.AnnotationEscapedSlashes, names.AnnotationExternalTrafficPolicy, names.AnnotationUnderscores,
		names.AnnotationHTTP2Window, names.AnnotationHTTP2Streams,
		names.AnnotationMaxReplicas, names.AnnotationMergeSlashes, names.AnnotationMinReplicas,
		names.AnnotationProxyProtocol, names.AnnotationReplicas, names.AnnotationServiceType, names.AnnotationStreamIdleTimeout,
		names.AnnotationTargetCPUPercent,
	}
}

// SettingsOf reads the Settings of a Gateway. problem is what is wrong with each annotation that is invalid, by their
// names, and empty if all are valid; with a problem the Settings must not be used.
func SettingsOf(gw *gwapiv1.Gateway) (s Settings, problem string) {
	r := reader{gw: gw}
	s.Replicas = r.number(names.AnnotationReplicas, 1, maxReplicas)
	least, most := r.number(names.AnnotationMinReplicas, 1, maxReplicas), r.number(names.AnnotationMaxReplicas, 1, maxReplicas)
	target := r.number(names.AnnotationTargetCPUPercent, 1, maxCPUPercent)
	s.ServiceType = r.oneOf(names.AnnotationServiceType, "ClusterIP", "LoadBalancer", "NodePort")
	s.ExternalTrafficPolicy = r.oneOf(names.AnnotationExternalTrafficPolicy, "Cluster", "Local")
	s.ProxyProtocol = r.oneOf(names.AnnotationProxyProtocol, "Accept", "Require")
	s.Clients = Clients{
		StreamIdle:     r.idle(names.AnnotationStreamIdleTimeout),
		Underscores:    r.oneOf(names.AnnotationUnderscores, "Allow", "Drop", "Reject"),
		MergeSlashes:   r.oneOf(names.AnnotationMergeSlashes, "false", "true") == "true",
		EscapedSlashes: r.oneOf(names.AnnotationEscapedSlashes, "Keep", "Redirect", "Reject", "Unescape"),
		Streams:        r.number(names.AnnotationHTTP2Streams, 1, maxStreams),
		StreamWindow:   r.size(names.AnnotationHTTP2Window, minWindow, maxWindow),
	}
	_, scaled := r.text(names.AnnotationMaxReplicas) // perhaps with a value that is wrong
	if least != nil && !scaled {
		r.fail(names.AnnotationMinReplicas, "needs %s too", names.AnnotationMaxReplicas)
	}
	if target != nil && !scaled {
		r.fail(names.AnnotationTargetCPUPercent, "needs %s too", names.AnnotationMaxReplicas)
	}
	if s.Replicas != nil && most != nil {
		r.fail(names.AnnotationReplicas, "cannot be set together with %s: remove one of them", names.AnnotationMaxReplicas)
	}
	if least != nil && most != nil && *least > *most {
		r.fail(names.AnnotationMinReplicas, "must be at most %s (%d)", names.AnnotationMaxReplicas, *most)
	}
	if len(r.problems) > 0 {
		slices.Sort(r.problems)
		return Settings{}, strings.Join(r.problems, "; ")
	}
	if most != nil {
		s.Autoscaling = &Autoscaling{Min: min(or(least, DefaultMin), *most), Max: *most, TargetCPUPercent: or(target, DefaultTargetCPUPercent)}
	}
	return s, ""
}

// Unknown returns the annotations of a Gateway that look like Settings but are not, sorted. They have no effect.
func Unknown(gw *gwapiv1.Gateway) []string {
	if gw.Spec.Infrastructure == nil {
		return nil
	}
	var out []string
	for k := range gw.Spec.Infrastructure.Annotations {
		if key := string(k); strings.HasPrefix(key, names.Group+"/") && !slices.Contains(Keys(), key) {
			out = append(out, key)
		}
	}
	slices.Sort(out)
	return out
}

// reader reads annotations and keeps what is wrong with them, at most one problem for each.
type reader struct {
	gw       *gwapiv1.Gateway
	problems []string
}

func (r *reader) fail(key, format string, args ...any) {
	r.problems = append(r.problems, fmt.Sprintf("spec.infrastructure.annotations[%s]: ", key)+fmt.Sprintf(format, args...))
}

// maxShown is how much of a value is in a problem, in bytes: a condition has a limit, and so has a reader.
const maxShown = 60

// shown is a value as part of a problem.
func shown(v string) string {
	return strconv.Quote(clip.Text(v, maxShown))
}

func (r *reader) text(key string) (string, bool) {
	if r.gw.Spec.Infrastructure == nil {
		return "", false
	}
	v, ok := r.gw.Spec.Infrastructure.Annotations[gwapiv1.AnnotationKey(key)]
	return string(v), ok
}

func (r *reader) number(key string, least, most int32) *int32 {
	v, ok := r.text(key)
	if !ok {
		return nil
	}
	n, err := strconv.ParseInt(v, 10, 32)
	if err != nil || int32(n) < least || int32(n) > most {
		r.fail(key, "%s is not a number from %d to %d", shown(v), least, most)
		return nil
	}
	out := int32(n)
	return &out
}

// size reads a number of bytes, in Ki or Mi.
func (r *reader) size(key string, least, most int32) *int32 {
	v, ok := r.text(key)
	if !ok {
		return nil
	}
	unit := int64(1 << 10)
	digits, ok := strings.CutSuffix(v, "Ki")
	if !ok {
		unit = 1 << 20
		digits, ok = strings.CutSuffix(v, "Mi")
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if bytes := int64(n) * unit; ok && err == nil && bytes >= int64(least) && bytes <= int64(most) {
		out := int32(bytes)
		return &out
	}
	r.fail(key, "%s is not a size from %dKi to %dMi such as 256Ki or 1Mi", shown(v), least>>10, most>>20)
	return nil
}

// idle reads a time, of which 0 is no limit.
func (r *reader) idle(key string) *time.Duration {
	v, ok := r.text(key)
	if !ok {
		return nil
	}
	d, err := time.ParseDuration(v)
	if err != nil || d != 0 && d < minStreamIdle {
		r.fail(key, "%s is not a duration of at least %v such as 90s, 5m or 1h, or 0s for no limit", shown(v), minStreamIdle)
		return nil
	}
	return &d
}

func (r *reader) oneOf(key string, values ...string) string {
	v, ok := r.text(key)
	if ok && !slices.Contains(values, v) {
		r.fail(key, "%s is not supported, only %s", shown(v), strings.Join(values, ", "))
	}
	return v
}

func or(p *int32, otherwise int32) int32 {
	if p == nil {
		return otherwise
	}
	return *p
}

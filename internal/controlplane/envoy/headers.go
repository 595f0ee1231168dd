// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"cmp"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"tulle.dev/tulle/internal/controlplane/model"
)

// mutation is HeaderMods as Envoy takes them. host is the value a Set of the Host header gives: for
// Envoy that is not a header but a rewrite.
type mutation struct {
	add    []*corev3.HeaderValueOption
	remove []string
	host   string
}

// mutate orders the modifications. Envoy removes first and the model last, so what is removed is not
// set or added before. Pseudo-headers and the removal or addition of Host mean nothing and are left out.
func mutate(m model.HeaderMods) mutation {
	var out mutation
	removed := map[string]bool{}
	for _, name := range m.Remove {
		name = headerName(name)
		if special(name) || removed[name] {
			continue
		}
		removed[name] = true
		out.remove = append(out.remove, name)
	}
	for _, h := range m.Set {
		name := headerName(h.Name)
		switch {
		case name == authority:
			out.host = h.Value
		case !special(name) && !removed[name]:
			out.add = append(out.add, headerOption(name, h.Value, corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD))
		}
	}
	for _, h := range m.Add {
		name := headerName(h.Name)
		if !special(name) && !removed[name] {
			out.add = append(out.add, headerOption(name, h.Value, corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD))
		}
	}
	return out
}

func special(name string) bool { return strings.HasPrefix(name, ":") }

// headerOption takes the value literally: Envoy would expand what stands between percent signs.
func headerOption(name, value string, how corev3.HeaderValueOption_HeaderAppendAction) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header:         &corev3.HeaderValue{Key: name, Value: literal(value)},
		AppendAction:   how,
		KeepEmptyValue: true,
	}
}

func literal(value string) string { return strings.ReplaceAll(value, "%", "%%") }

func setHeaders(r *routev3.Route, request, response model.HeaderMods) {
	req, resp := mutate(request), mutate(response)
	r.RequestHeadersToAdd, r.RequestHeadersToRemove = req.add, req.remove
	r.ResponseHeadersToAdd, r.ResponseHeadersToRemove = resp.add, resp.remove
}

// setShareHeaders does what the rule asks for and then what the backend does, so that the backend
// wins. Both stand in the share: Envoy would apply what stands in the route last.
func setShareHeaders(c *routev3.WeightedCluster_ClusterWeight, r model.Rule, b model.WeightedBackend) {
	req, resp := then(r.RequestHeaders, b.RequestHeaders), then(r.ResponseHeaders, b.ResponseHeaders)
	c.RequestHeadersToAdd, c.RequestHeadersToRemove = req.add, req.remove
	c.ResponseHeadersToAdd, c.ResponseHeadersToRemove = resp.add, resp.remove
	if req.host != "" {
		c.HostRewriteSpecifier = &routev3.WeightedCluster_ClusterWeight_HostRewriteLiteral{HostRewriteLiteral: req.host}
	}
}

// then composes modifications. What the second removes, the first need not set.
func then(first, second model.HeaderMods) mutation {
	a, b := mutate(first), mutate(second)
	out := mutation{remove: slices.Clone(a.remove), host: cmp.Or(b.host, a.host)}
	for _, h := range a.add {
		if !slices.Contains(b.remove, h.GetHeader().GetKey()) {
			out.add = append(out.add, h)
		}
	}
	out.add = append(out.add, b.add...)
	for _, name := range b.remove {
		if !slices.Contains(out.remove, name) {
			out.remove = append(out.remove, name)
		}
	}
	return out
}

// modified tells whether a backend has modifications of its own.
func modified(b model.WeightedBackend) bool { return modify(b.RequestHeaders, b.ResponseHeaders) }

// modify tells whether any of these changes something.
func modify(mods ...model.HeaderMods) bool {
	return slices.ContainsFunc(mods, func(m model.HeaderMods) bool { return len(m.Set)+len(m.Add)+len(m.Remove) > 0 })
}

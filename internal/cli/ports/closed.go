// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package ports

import (
	"cmp"
	"slices"

	"tulle.dev/tulle/internal/controlplane/model"
)

// Call is an object that makes the API server call a Service.
type Call struct {
	// Kind and Name are the object's: a webhook configuration, a CustomResourceDefinition, an APIService.
	Kind, Name string
	Service    model.Key
	// Port is the Service's.
	Port uint16
	// Fail is true where what the call is about is refused when it fails.
	Fail bool
}

// Closing is a Call that leads to meshed pods, by ports that their proxies serve.
type Closing struct {
	Call
	// Pods are those pods, sorted.
	Pods []model.Key
	// Targets are the ports of the pods that are called; Exclude is what their annotation for inbound ports
	// has to say: these and what it says already. Both are sorted.
	Targets, Exclude []uint16
}

// Closed returns the calls that mode Strict closes, because the API server has no proxy: those that lead to
// a meshed pod on a port that its proxy serves. Calls of one object to one port are one. They are sorted
// by kind, name, Service and port.
func Closed(w World, calls []Call) []Closing {
	v := viewOf(w)
	calls = slices.Clone(calls)
	slices.SortFunc(calls, func(a, b Call) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name),
			cmp.Compare(a.Service.String(), b.Service.String()), cmp.Compare(a.Port, b.Port))
	})
	var out []Closing
	for _, c := range calls {
		if n := len(out); n > 0 {
			last, same := &out[n-1], c
			same.Fail = last.Fail
			if last.Call == same {
				last.Fail = last.Fail || c.Fail
				continue
			}
		}
		closing := Closing{Call: c}
		for _, p := range v.resolved(c.Service) {
			if p.Port.Port != c.Port {
				continue
			}
			for _, m := range p.Members {
				closing.Pods = append(closing.Pods, m.Pod)
				closing.Targets = append(closing.Targets, m.Addr.Port())
				closing.Exclude = append(append(closing.Exclude, m.Addr.Port()), v.pods[m.Pod].ExcludedInboundPorts...)
			}
		}
		if len(closing.Pods) == 0 {
			continue
		}
		slices.SortFunc(closing.Pods, func(a, b model.Key) int { return cmp.Compare(a.String(), b.String()) })
		closing.Pods = slices.Compact(closing.Pods)
		closing.Targets = distinct(closing.Targets)
		closing.Exclude = distinct(closing.Exclude)
		out = append(out, closing)
	}
	return out
}

func distinct(list []uint16) []uint16 {
	slices.Sort(list)
	return slices.Compact(list)
}

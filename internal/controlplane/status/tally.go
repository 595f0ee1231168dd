// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package status

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/xds"
)

// Workload is what the ledger must know of the client of a stream (xds.Principal). Whatever does not tell
// is taken for a proxy of a namespace of its own.
type Workload interface {
	// Workload returns the namespace of the proxy's pod and, for a proxy of a Gateway, the Gateway's name.
	Workload() (namespace, gateway string)
}

// Near tells the proxies that an object concerns from others. Each proxy of the mesh may ask for most
// resources, and answers what it likes; only those that an object concerns decide about it alone.
type Near struct {
	// Namespaces are those of the object and of its backends, sorted.
	Namespaces []string
	// Gateway is the Gateway whose own proxies serve the object; the zero value for none.
	Gateway model.Key
}

func (n Near) has(namespace, gateway string) bool {
	return slices.Contains(n.Namespaces, namespace) || gateway != "" && n.Gateway == model.Key{Namespace: namespace, Name: gateway}
}

// mayHave is has where only the name of the proxy's pod is known, "NAMESPACE/POD".
func (n Near) mayHave(proxy string) bool {
	namespace, _, _ := strings.Cut(proxy, "/")
	return slices.Contains(n.Namespaces, namespace) || n.Gateway.Namespace == namespace
}

// Other is what the proxies of one namespace say that the object does not concern.
type Other struct {
	// Namespace; empty for several that are not listed.
	Namespace string `json:",omitempty"`
	// Pending proxies need the Subject and have not acknowledged all of it, Rejected of them because they
	// rejected some.
	Pending, Rejected int
}

// maxOthers is how many namespaces are listed.
const maxOthers = 4

// acknowledged tells whether every proxy that needs the Subject has acknowledged all of it, and how many
// these are. It is quicker than tally, and false where numbers alone do not say so: as many as have a listener
// may have its routes, and not be the same.
func acknowledged(acks Acks, r Requirement) (needed int, all bool) {
	if len(r.Lead) > 1 || slices.ContainsFunc(r.Follow, func(k xds.Key) bool { return k != xds.Key{} }) {
		return 0, false
	}
	done := func(k xds.Key) (n int, all bool) {
		n, acked, _ := acks.Acks(k)
		return n, n == acked
	}
	for _, k := range r.Lead {
		n, all := done(k)
		if !all {
			return 0, false
		}
		needed = n
	}
	for _, k := range r.Rest {
		if _, all := done(k); !all {
			return 0, false
		}
	}
	return needed, true
}

// proxy is a stream that needs the Subject.
type proxy struct {
	namespace string
	near      bool
	// lead is the last of Requirement.Lead that it subscribes to, and have the last whose Follow it has.
	lead, have int
	// pending: it has not acknowledged something; rejected: it has rejected something.
	pending, rejected bool
}

// tally asks each subscriber. A proxy needs the Subject if it subscribes to one of Lead. Any proxy may
// subscribe to Rest: what one says that does not need the Subject counts only if the Subject concerns it.
// about is how many proxies may need it.
func tally(acks Acks, r Requirement, about int, p *Progress) {
	needing := make([]proxy, 0, about)
	place := make(map[uint64]int32, about) // by stream, in needing
	elsewhere := map[uint64]bool{}
	find := func(stream uint64) *proxy {
		if i, ok := place[stream]; ok {
			return &needing[i]
		}
		return nil
	}
	judge := func(s xds.Subscriber, of *proxy) {
		if of != nil && !s.Acked {
			of.pending = true
		}
		if !s.Rejected {
			return
		}
		if namespace, gateway := workloadOf(s.Principal); r.Near.has(namespace, gateway) {
			p.Rejections = append(p.Rejections, Rejection{fmt.Sprint(s.Principal), s.Err})
		} else if of == nil {
			elsewhere[s.Stream] = true
		}
		if of != nil {
			of.rejected = true
		}
	}
	for i, k := range r.Lead {
		acks.Subscribers(k, func(s xds.Subscriber) bool {
			one := find(s.Stream)
			if one == nil {
				namespace, gateway := workloadOf(s.Principal)
				place[s.Stream] = int32(len(needing)) //nolint:gosec // streams of one replica
				needing = append(needing, proxy{namespace: namespace, near: r.Near.has(namespace, gateway)})
				one = &needing[len(needing)-1]
			}
			one.lead = i + 1
			judge(s, one)
			return true
		})
		if i >= len(r.Follow) || r.Follow[i] == (xds.Key{}) {
			continue
		}
		acks.Subscribers(r.Follow[i], func(s xds.Subscriber) bool {
			one := find(s.Stream)
			if one != nil {
				one.have = i + 1
			}
			judge(s, one)
			return true
		})
		for j := range needing {
			if one := &needing[j]; one.lead == i+1 && one.have != i+1 {
				one.pending = true // it has yet to ask for it
			}
		}
	}
	for _, k := range r.Rest {
		acks.Subscribers(k, func(s xds.Subscriber) bool {
			if !s.Acked {
				judge(s, find(s.Stream))
			}
			return true
		})
	}
	p.sum(needing)
	p.Elsewhere = len(elsewhere)
}

// sum counts the proxies that need the Subject.
func (p *Progress) sum(needing []proxy) {
	others := map[string]Other{}
	p.Needed = len(needing)
	p.Acked = p.Needed
	for _, one := range needing {
		if !one.pending {
			continue
		}
		p.Acked--
		if one.near {
			p.Pending++
			continue
		}
		o := others[one.namespace]
		o.Namespace = one.namespace
		o.Pending++
		if one.rejected {
			o.Rejected++
		}
		others[one.namespace] = o
	}
	list := make([]Other, 0, len(others))
	for _, o := range others {
		list = append(list, o)
	}
	p.Others = trimOthers(list)
	p.Rejections = trimRejections(p.Rejections)
}

// trimOthers sorts by the number of proxies, the most first, and adds up those beyond maxOthers.
func trimOthers(list []Other) []Other {
	if len(list) == 0 {
		return nil
	}
	unnamed := func(o Other) int {
		if o.Namespace == "" {
			return 1
		}
		return 0
	}
	slices.SortFunc(list, func(a, b Other) int {
		return cmp.Or(
			cmp.Compare(unnamed(a), unnamed(b)), cmp.Compare(b.Pending, a.Pending), cmp.Compare(b.Rejected, a.Rejected),
			strings.Compare(a.Namespace, b.Namespace),
		)
	})
	if len(list) <= maxOthers {
		return list
	}
	var rest Other
	for _, o := range list[maxOthers:] {
		rest.Pending += o.Pending
		rest.Rejected += o.Rejected
	}
	return append(list[:maxOthers:maxOthers], rest)
}

func workloadOf(p xds.Principal) (namespace, gateway string) {
	if w, ok := p.(Workload); ok {
		return w.Workload()
	}
	return fmt.Sprint(p), ""
}

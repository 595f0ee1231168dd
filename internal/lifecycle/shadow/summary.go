// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package shadow

import (
	"cmp"
	"fmt"
	"strings"
)

// named is how many newly rejected objects a summary names.
const named = 3

// noun is how people call a kind of resources, and its place in a list.
func noun(typeURL string) (one, many string, place int) {
	last := typeURL[strings.LastIndexAny(typeURL, "./")+1:]
	for i, n := range []struct{ last, one, many string }{
		{"Listener", "listener", "listeners"},
		{"RouteConfiguration", "route table", "route tables"},
		{"RoutePart", "route of a Gateway", "routes of Gateways"},
		{"TypedExtensionConfig", "route of bytes", "routes of bytes"},
		{"Cluster", "cluster", "clusters"},
		{"ClusterLoadAssignment", "list of endpoints", "lists of endpoints"},
		{"Secret", "certificate or list of peers", "certificates and lists of peers"},
		{"Scope", "scope", "scopes"},
	} {
		if n.last == last {
			return n.one, n.many, i
		}
	}
	return last, last, 1 << 10 // of a release that has more kinds than this one
}

func byPlace(a, b string) int {
	_, _, pa := noun(a)
	_, _, pb := noun(b)
	return cmp.Or(cmp.Compare(pa, pb), strings.Compare(a, b))
}

// Noun is how people call the kind of resources, in the plural.
func (k Kind) Noun() string {
	_, many, _ := noun(k.Type)
	return many
}

// Summary is one line for people, the same for the same difference: "12 of 340 clusters change;
// nothing new is rejected".
func (d Difference) Summary() string {
	var parts []string
	for _, k := range d.Kinds {
		one, many, _ := noun(k.Type)
		if n := len(k.Changed); n > 0 {
			parts = append(parts, fmt.Sprintf("%d of %d %s", n, k.Old, choose(k.Old, one, many)+choose(n, " changes", " change")))
		}
		if n := len(k.Added); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, choose(n, one+" comes", many+" come")))
		}
		if n := len(k.Removed); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, choose(n, one+" goes", many+" go")))
		}
	}
	text := "nothing changes"
	if len(parts) > 0 {
		text = strings.Join(parts, ", ")
	}
	return text + "; " + d.rejections()
}

func (d Difference) rejections() string {
	if len(d.Rejected) == 0 {
		return "nothing new is rejected"
	}
	var objects []string
	for _, o := range d.Rejected {
		name := o.Kind + " " + o.Name
		if o.Namespace != "" {
			name = o.Kind + " " + o.Namespace + "/" + o.Name
		}
		// An object may be wrong in several places; it stands beside itself in the sorted list.
		if len(objects) == 0 || objects[len(objects)-1] != name {
			objects = append(objects, name)
		}
	}
	n := len(objects)
	text := strings.Join(objects[:min(n, named)], ", ")
	if n > named {
		text += fmt.Sprintf(" and %d more", n-named)
	}
	return fmt.Sprintf("%d %s newly rejected: %s", n, choose(n, "object is", "objects are"), text)
}

func choose(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package dump

import (
	"slices"
	"strings"
)

// Matching keeps the resources whose name contains part, and everything when part is empty.
func (c Config) Matching(part string) Config {
	drop := func(name string) bool { return !strings.Contains(name, part) }
	return Config{
		Clusters:  slices.DeleteFunc(slices.Clone(c.Clusters), func(x Cluster) bool { return drop(x.Name) }),
		Listeners: slices.DeleteFunc(slices.Clone(c.Listeners), func(x Listener) bool { return drop(x.Name) }),
		Routes:    slices.DeleteFunc(slices.Clone(c.Routes), func(x Route) bool { return drop(x.Config) }),
		Endpoints: slices.DeleteFunc(slices.Clone(c.Endpoints), func(x Endpoint) bool { return drop(x.Cluster) }),
		Rejected:  slices.DeleteFunc(slices.Clone(c.Rejected), func(x Rejected) bool { return drop(x.Name) }),
	}
}

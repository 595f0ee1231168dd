// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"sync"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/source"
	"tulle.dev/tulle/internal/controlplane/xds"
	"tulle.dev/tulle/internal/names"
)

// zones are the zones of nodes. Safe for concurrent use.
type zones struct {
	mu     sync.RWMutex // a leaf: the ADS server asks with its own locks held
	byNode map[string]string
}

// take notes what events say of nodes and tells whether any zone changed.
func (z *zones) take(events []source.Event) bool {
	z.mu.Lock()
	defer z.mu.Unlock()
	changed := false
	for _, e := range events {
		if e.Kind != source.Node {
			continue
		}
		n, _ := e.Object.(model.NodeZone)
		if z.byNode[e.Key.Name] == n.Zone {
			continue
		}
		changed = true
		if n.Zone == "" {
			delete(z.byNode, e.Key.Name)
			continue
		}
		if z.byNode == nil {
			z.byNode = map[string]string{}
		}
		z.byNode[e.Key.Name] = n.Zone
	}
	return changed
}

// places are where a proxy, or a client without one, is. It is xds.Options.Places.
func (z *zones) places(p xds.Principal) []string {
	c, ok := p.(connected)
	if !ok {
		return nil
	}
	z.mu.RLock()
	defer z.mu.RUnlock()
	var out []string
	for _, place := range model.Places(c.Kind == names.KindGateway, c.Node, z.byNode[c.Node]) {
		out = append(out, place.String())
	}
	return out
}

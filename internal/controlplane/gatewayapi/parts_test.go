// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi_test

import (
	"fmt"
	"slices"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/virtualhost"
)

func (w *world) Attached(on gatewayapi.On) (n int) {
	asked := w.asked
	asked[fmt.Sprint("Attached ", on.Gateway, " ", on.Listener)] = true
	w.asked = map[string]bool{} // others keep the count
	defer func() { w.asked = asked }()
	for _, r := range w.routes {
		if slices.Contains(gatewayapi.RouteOn(w, r), on) {
			n++
		}
	}
	return n
}

// table puts together what agents do.
func (w *world) table(gateway model.Key, port uint16, section string) (out model.RouteTable, ok bool) {
	t, ok := gatewayapi.GatewayTable(w, gateway, port, section)
	var parts []*virtualhost.Part[model.Rule]
	for _, r := range w.routes {
		parts = append(parts, in(t.Name, gatewayapi.RouteParts(w, r))...)
	}
	out.Name = t.Name
	for _, h := range virtualhost.Compose(t.Table, parts) {
		out.Hosts = append(out.Hosts, model.VirtualHost(h))
	}
	return out, ok
}

func in(table string, all []model.RoutePart) (out []*virtualhost.Part[model.Rule]) {
	for i := range all {
		if all[i].Table == table {
			out = append(out, &all[i].Part)
		}
	}
	return out
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"context"
	"fmt"
	"strings"

	"tulle.dev/tulle/internal/names"
)

// Ready says in words what Envoy lacks to serve; "" if nothing: its workers have started and none of
// its listeners and clusters is still warming. idle: it is to have no listener, as the proxy of a
// Gateway none of whose listeners is valid.
func (a *Admin) Ready(ctx context.Context, idle bool) (lacks string, err error) {
	v, err := a.values(ctx, `^(server\.(live|state)|listener_manager\.(workers_started|total_listeners_(active|warming))|cluster_manager\.warming_clusters)$`)
	if err != nil {
		return "", err
	}
	switch {
	case v["server.live"] != 1:
		return "Envoy is initializing", nil
	case v["listener_manager.workers_started"] != 1:
		return "Envoy's workers have not started", nil
	case v["listener_manager.total_listeners_active"] == 0 && !idle:
		return "Envoy has no listeners", nil
	case v["listener_manager.total_listeners_warming"] > 0:
		return fmt.Sprintf("%d of Envoy's listeners are waiting for their routes or secrets", v["listener_manager.total_listeners_warming"]), nil
	case v["cluster_manager.warming_clusters"] > 0:
		return fmt.Sprintf("%d of Envoy's clusters are waiting for their endpoints or secrets", v["cluster_manager.warming_clusters"]), nil
	}
	return "", nil
}

// Activity is what goes on towards the application (a sidecar) or through a gateway.
type Activity struct {
	// Active are requests and opaque connections that have not ended, and answers that Envoy has taken
	// from the application and not yet given to the client. 0 means none; else it is no exact count.
	Active uint64
	// Begun counts all requests and connections since Envoy's start; it only grows.
	Begun uint64
	// All are the connections of every kind and direction that are still open.
	All uint64
}

// Activity reads what goes on in an Envoy of the kind (names.KindSidecar, names.KindGateway).
func (a *Admin) Activity(ctx context.Context, kind string) (Activity, error) {
	v, err := a.values(ctx, `^(http\..*\.downstream_rq_(total|active)|tcp\..*\.downstream_cx_total|(http|tcp)\..*\.downstream_cx_tx_bytes_buffered|listener\..*\.downstream_cx_active|cluster\.std/in-tcp\.upstream_cx_active)$`)
	if err != nil {
		return Activity{}, err
	}
	return activity(v, kind), nil
}

// activity adds the statistics up. The prefixes are those that the control plane gives to what
// serves the application (names.InboundHTTP1 and so on) or the outside world (gw/...).
func activity(v map[string]uint64, kind string) Activity {
	var out Activity
	for name, n := range v {
		head, rest, _ := strings.Cut(name, ".")
		i := strings.LastIndex(rest, ".")
		if i < 0 {
			continue
		}
		prefix, stat := rest[:i], rest[i+1:]
		switch head {
		case "listener":
			// Each connection counts once for its listener and again per worker.
			if !strings.Contains(prefix, ".worker_") && !strings.HasPrefix(prefix, "admin") {
				out.All += n
			}
			continue
		case "cluster":
			if kind == names.KindSidecar {
				out.Active += n
			}
			continue
		}
		inbound := prefix == names.InboundHTTP1 || prefix == names.InboundHTTP2 || prefix == names.InboundTCP
		if kind == names.KindGateway {
			inbound = strings.HasPrefix(prefix, "gw/")
		}
		if !inbound {
			continue
		}
		switch stat {
		case "downstream_rq_active", "downstream_cx_tx_bytes_buffered":
			out.Active += n
		case "downstream_rq_total", "downstream_cx_total":
			out.Begun += n
		}
	}
	return out
}

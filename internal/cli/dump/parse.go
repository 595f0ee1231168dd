// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package dump

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"tulle.dev/tulle/internal/printable"
)

// Config is what a proxy runs with.
type Config struct {
	Clusters  []Cluster  `json:"clusters"`
	Listeners []Listener `json:"listeners"`
	Routes    []Route    `json:"routes"`
	Endpoints []Endpoint `json:"endpoints"`
	// Rejected is what Envoy refused and runs an older version of, or none.
	Rejected []Rejected `json:"rejected,omitempty"`
}

// Rejected is a resource that Envoy refused.
type Rejected struct {
	Name  string `json:"name"`
	Error string `json:"error"`
}

// Path is what to ask Envoy's admin interface for.
const Path = "/config_dump?include_eds"

// Parse reads an answer to Path.
func Parse(body []byte) (Config, error) {
	var answer struct {
		Configs []json.RawMessage `json:"configs"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return Config{}, fmt.Errorf("parse config dump: %w", err)
	}
	if len(answer.Configs) == 0 {
		return Config{}, errors.New("parse config dump: it holds no configs")
	}
	d := dump{filters: map[string]string{}}
	for _, filters := range []bool{true, false} { // which listeners ask for
		for _, raw := range answer.Configs {
			if err := d.add(raw, filters); err != nil {
				return Config{}, fmt.Errorf("parse config dump: %w", err)
			}
		}
	}
	d.sort()
	return d.Config, nil
}

// dump is what is being read.
type dump struct {
	Config
	filters map[string]string // where those lead that have names
}

// versioned is the wrapper of every resource in a dump.
type versioned struct {
	Version     string          `json:"version_info"`
	Cluster     json.RawMessage `json:"cluster"`
	RouteConfig json.RawMessage `json:"route_config"`
	Endpoints   json.RawMessage `json:"endpoint_config"`
	Listener    json.RawMessage `json:"listener"`
	Filter      json.RawMessage `json:"ecds_filter"`
	Active      *versioned      `json:"active_state"` // of a listener
	Name        string          `json:"name"`         // of a listener
	Error       *struct {
		Details string `json:"details"`
		Failed  struct {
			Name string `json:"name"`
		} `json:"failed_configuration"`
	} `json:"error_state"`
}

func (d *dump) add(raw json.RawMessage, filters bool) error {
	var part struct {
		Type             string      `json:"@type"`
		StaticClusters   []versioned `json:"static_clusters"`
		DynamicClusters  []versioned `json:"dynamic_active_clusters"`
		StaticListeners  []versioned `json:"static_listeners"`
		DynamicListeners []versioned `json:"dynamic_listeners"`
		DynamicRoutes    []versioned `json:"dynamic_route_configs"`
		StaticEndpoints  []versioned `json:"static_endpoint_configs"`
		DynamicEndpoints []versioned `json:"dynamic_endpoint_configs"`
		Filters          []versioned `json:"ecds_filters"`
	}
	if err := json.Unmarshal(raw, &part); err != nil {
		return err
	}
	kind := part.Type[strings.LastIndex(part.Type, ".")+1:]
	if filters != (kind == "EcdsConfigDump") {
		return nil
	}
	switch kind {
	case "EcdsConfigDump":
		return each(d, part.Filters, (*dump).addFilter)
	case "ClustersConfigDump":
		return each(d, append(part.StaticClusters, part.DynamicClusters...), (*dump).addCluster)
	case "ListenersConfigDump":
		return each(d, append(part.StaticListeners, part.DynamicListeners...), (*dump).addListener)
	case "RoutesConfigDump":
		// The static ones are inline in listeners, which show them.
		return each(d, part.DynamicRoutes, (*dump).addRoutes)
	case "EndpointsConfigDump":
		return each(d, append(part.StaticEndpoints, part.DynamicEndpoints...), (*dump).addEndpoints)
	}
	return nil
}

func each(d *dump, list []versioned, add func(*dump, versioned) error) error {
	for _, v := range list {
		if e := v.Error; e != nil {
			name := v.Name
			if name == "" {
				name = e.Failed.Name
			}
			// Envoy lists a refused listener beside the one it keeps, and each says why.
			if r := (Rejected{Name: printable.Line(name), Error: printable.Line(e.Details)}); !slices.Contains(d.Rejected, r) {
				d.Rejected = append(d.Rejected, r)
			}
		}
		if err := add(d, v); err != nil {
			return err
		}
	}
	return nil
}

// read decodes one resource; absent ones (a listener that is only warming) are left as they are.
func read(raw json.RawMessage, into any) (bool, error) {
	if len(raw) == 0 {
		return false, nil
	}
	return true, json.Unmarshal(raw, into)
}

// address is Envoy's Address as it appears in JSON.
type address struct {
	Socket *struct {
		Address string `json:"address"`
		Port    int    `json:"port_value"`
	} `json:"socket_address"`
	Pipe *struct {
		Path string `json:"path"`
	} `json:"pipe"`
}

func (a address) String() string {
	switch {
	case a.Socket != nil && strings.Contains(a.Socket.Address, ":"):
		return fmt.Sprintf("[%s]:%d", a.Socket.Address, a.Socket.Port)
	case a.Socket != nil:
		return fmt.Sprintf("%s:%d", a.Socket.Address, a.Socket.Port)
	case a.Pipe != nil:
		return "unix:" + a.Pipe.Path
	}
	return "-"
}

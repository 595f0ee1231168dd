// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package client

import (
	"encoding/json"
	"fmt"
	"path/filepath"
)

// The files below Settings.Dir, and how often libraries look at them: they learn of changes in no other way.
const (
	// BootstrapFile is what the environment variable GRPC_XDS_BOOTSTRAP is to name.
	BootstrapFile   = "bootstrap.json"
	current         = "current"
	certificateFile = "tls.crt"
	keyFile         = "tls.key"
	rootsFile       = "ca.crt"
	refresh         = "5s"
)

// The bootstrap file of gRFCs A27, A29 and A65.
type (
	bootstrap struct {
		Servers   []server            `json:"xds_servers"`
		Node      node                `json:"node"`
		Providers map[string]provider `json:"certificate_providers"`
	}
	server struct {
		URI      string        `json:"server_uri"`
		Creds    []credentials `json:"channel_creds"`
		Features []string      `json:"server_features"`
	}
	credentials struct {
		Type   string `json:"type"`
		Config files  `json:"config"`
	}
	node struct {
		ID      string `json:"id"`
		Cluster string `json:"cluster,omitempty"`
	}
	provider struct {
		Plugin string `json:"plugin_name"`
		Config files  `json:"config"`
	}
	files struct {
		Certificate string `json:"certificate_file"`
		Key         string `json:"private_key_file"`
		Roots       string `json:"ca_certificate_file"`
		Refresh     string `json:"refresh_interval"`
	}
)

// Bootstrap is the content of BootstrapFile. The provider of certificates is called "default", as the
// control plane's clusters do.
func (s Settings) Bootstrap() ([]byte, error) {
	in := func(name string) string { return filepath.Join(s.Dir, current, name) }
	own := files{Certificate: in(certificateFile), Key: in(keyFile), Roots: in(rootsFile), Refresh: refresh}
	b, err := json.MarshalIndent(bootstrap{
		Servers: []server{{
			URI: s.ADS, Features: []string{"xds_v3"},
			Creds: []credentials{{Type: "tls", Config: own}},
		}},
		Node:      node{ID: "client." + s.Namespace + "." + s.Pod + "." + s.PodUID},
		Providers: map[string]provider{"default": {Plugin: "file_watcher", Config: own}},
	}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode the bootstrap: %w", err)
	}
	return append(b, '\n'), nil
}

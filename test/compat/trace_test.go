// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package compat

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
)

// Kinds of steps.
const (
	connect  = "connect"  // the agent opens a stream
	change   = "change"   // the control plane gets the later versions of its resources
	request  = "request"  // the agent sends this
	response = "response" // the control plane sends this
)

// step is one thing that happened between an agent and a control plane.
type step struct {
	kind  string
	bytes []byte
}

func (s step) request(t *testing.T) *discoveryv3.DeltaDiscoveryRequest {
	t.Helper()
	var m discoveryv3.DeltaDiscoveryRequest
	if err := proto.Unmarshal(s.bytes, &m); err != nil {
		t.Fatal(err)
	}
	return &m
}

func (s step) response(t *testing.T) *discoveryv3.DeltaDiscoveryResponse {
	t.Helper()
	var m discoveryv3.DeltaDiscoveryResponse
	if err := proto.Unmarshal(s.bytes, &m); err != nil {
		t.Fatal(err)
	}
	return &m
}

// write makes a file of steps: a line each, the bytes in base64. Comments are for people.
func write(t *testing.T, file string, steps []step) {
	t.Helper()
	var b bytes.Buffer
	fmt.Fprintln(&b, "# What an agent and a control plane of this release said to each other; see test/compat.")
	for _, s := range steps {
		switch s.kind {
		case request:
			m := s.request(t)
			fmt.Fprintf(&b, "# %s subscribe %v, has %d, nonce %q %s\n", short(m.GetTypeUrl()), m.GetResourceNamesSubscribe(), len(m.GetInitialResourceVersions()), m.GetResponseNonce(), m.GetErrorDetail().GetMessage())
		case response:
			m := s.response(t)
			var names []string
			for _, r := range m.GetResources() {
				names = append(names, r.GetName())
			}
			fmt.Fprintf(&b, "# %s resources %v, removed %v, nonce %q\n", short(m.GetTypeUrl()), names, m.GetRemovedResources(), m.GetNonce())
		}
		fmt.Fprintln(&b, strings.TrimSpace(s.kind+" "+base64.StdEncoding.EncodeToString(s.bytes)))
	}
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func short(url string) string { return url[strings.LastIndexByte(url, '.')+1:] }

// load reads the record of a release.
func load(t *testing.T) []step {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "internal", "protocol", "testdata", "0.2.0", "stream.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var steps []step
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		kind, body, _ := strings.Cut(lines.Text(), " ")
		b, err := base64.StdEncoding.DecodeString(body)
		if err != nil {
			t.Fatal(err)
		}
		steps = append(steps, step{kind, b})
	}
	if len(steps) < 20 {
		t.Fatalf("the record has %d steps only", len(steps))
	}
	return steps
}

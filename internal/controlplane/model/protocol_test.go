// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package model

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestProtocolsAreDocumented: the tables of docs/concepts/traffic.md are those of the code, word for word.
func TestProtocolsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../../docs/concepts/traffic.md")
	if err != nil {
		t.Fatal(err)
	}
	speaks := map[string]Protocol{"HTTP/1.1": HTTP, "HTTP/2": HTTP2, "gRPC": GRPC, "bytes": TCP}
	for head, want := range map[string]map[string]Protocol{"| `appProtocol` | Protocol |": appProtocols, "| Beginning of the name | Protocol |": portNames} {
		_, table, ok := strings.Cut(string(page), head)
		if !ok {
			t.Fatalf("the page has no table %s", head)
		}
		got := map[string]Protocol{}
		for i, row := range strings.Split(table, "\n")[1:] {
			cells := strings.Split(strings.Trim(strings.TrimSpace(row), "|"), "|")
			if i == 0 || len(cells) != 2 {
				if i > 0 {
					break
				}
				continue
			}
			protocol, ok := speaks[strings.TrimSpace(cells[1])]
			if !ok {
				t.Fatalf("%s: %q", head, row)
			}
			for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[0], -1) {
				got[name[1]] = protocol
			}
			if !strings.Contains(cells[0], "`") && protocol != TCP {
				t.Errorf("%s: %q: what is not named is bytes", head, row)
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-code +page):\n%s", head, d)
		}
	}
	var ports []string
	for _, p := range opaquePorts {
		ports = append(ports, fmt.Sprint(p))
	}
	last := len(ports) - 1
	if text := "The number: " + strings.Join(ports[:last], ", ") + " and " + ports[last] + " are bytes"; !strings.Contains(string(page), text) {
		t.Errorf("the page does not say %q", text)
	}
}

// TestPortNames: every entry of the table is for itself and for what begins with it and a dash.
func TestPortNames(t *testing.T) {
	for name, want := range portNames {
		for _, suffix := range []string{"", "-", "-x", "-x-y", "-http2x"} {
			if p, declared := ProtocolOf("", name+suffix, 80); p != want || !declared {
				t.Errorf("%s: %s, %v; want %s", name+suffix, p, declared, want)
			}
		}
		// Without the dash it is another word, which may still begin with a shorter entry.
		shorter, _, more := strings.Cut(name, "-")
		if p, declared := ProtocolOf("", name+"x", 80); declared != more || more && p != portNames[shorter] {
			t.Errorf("%sx: %s, %v", name, p, declared)
		}
	}
}

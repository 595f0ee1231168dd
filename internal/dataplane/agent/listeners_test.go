// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package agent

import (
	"testing"
)

// FuzzOffered: whatever the other agent says, each socket that came has one name of its own, or none is taken.
func FuzzOffered(f *testing.F) {
	for _, s := range []string{`{"names":["agent","ready"]}`, `{"names":["agent","agent"]}`, `{"names":[]}`, `{}`, `null`, ``, `{"names":[1]}`} {
		f.Add([]byte(s), 2)
		f.Add([]byte(s), 0)
	}
	f.Fuzz(func(t *testing.T, message []byte, sockets int) {
		named, err := offered(message, sockets)
		if err != nil {
			return
		}
		if len(named) != sockets {
			t.Errorf("%d names for %d sockets", len(named), sockets)
		}
		if len(set(named)) != len(named) {
			t.Errorf("names are not different: %q", named)
		}
	})
}

func set(list []string) map[string]bool {
	out := map[string]bool{}
	for _, s := range list {
		out[s] = true
	}
	return out
}

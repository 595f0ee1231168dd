// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"encoding/json"
	"testing"
)

type jsonRaw = json.RawMessage

// runtimeLayer is the part of the agent's bootstrap that decides what config Envoy accepts: the size of
// regular expressions is limited by the control plane, in a way users can see.
func runtimeLayer() map[string]any {
	return map[string]any{"layers": []any{map[string]any{
		"name":         "static",
		"static_layer": map[string]any{"re2.max_program_size.error_level": 1 << 16, "re2.max_program_size.warn_level": 1 << 16},
	}}}
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

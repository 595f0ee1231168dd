// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package inject

import (
	"encoding/json"
	"fmt"

	jsonpatch "github.com/evanphx/json-patch/v5"
	corev1 "k8s.io/api/core/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// Apply changes the fields of a pod or of a pod template as the webhook's patch would that leads from one
// pod, which was read from the fields, to the other: fields that corev1.Pod does not know stay.
func Apply(fields map[string]any, from, to *corev1.Pod) (map[string]any, error) {
	ops, err := patch(from, to)
	if err != nil || ops == nil {
		return fields, err
	}
	out := map[string]any{"metadata": map[string]any{}} // templates may have none
	for k, v := range fields {
		if v != nil {
			out[k] = v
		}
	}
	text, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("encode the pod: %w", err)
	}
	p, err := jsonpatch.DecodePatch(ops)
	if err != nil {
		return nil, fmt.Errorf("decode the patch: %w", err)
	}
	if text, err = p.Apply(text); err != nil {
		return nil, fmt.Errorf("apply the patch: %w", err)
	}
	out = nil
	if err := utiljson.Unmarshal(text, &out); err != nil {
		return nil, fmt.Errorf("decode the pod: %w", err)
	}
	return out, nil
}

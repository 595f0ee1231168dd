// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package clip

// MostLabels and LongestLabels are how many labels, and how many bytes of their keys and values, are kept of an object.
// The API server bounds a label, not how many there are, and a short label takes many times its length of memory.
const (
	MostLabels    = 64
	LongestLabels = 4 << 10
)

// Labels returns labels if they are at most as many, and of as many bytes, as that. Otherwise whole is false, and kept
// is a new map with only those in keep.
func Labels(labels map[string]string, most, longest int, keep ...string) (kept map[string]string, whole bool) {
	if len(labels) <= most {
		n := 0
		for k, v := range labels {
			n += len(k) + len(v)
		}
		if n <= longest {
			return labels, true
		}
	}
	kept = map[string]string{} // a clone would keep the size of the original
	for _, k := range keep {
		if v, set := labels[k]; set {
			kept[k] = v
		}
	}
	return kept, false
}

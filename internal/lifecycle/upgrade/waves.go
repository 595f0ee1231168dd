// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package upgrade

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/names"
)

// The default waves.
const (
	// manyReplicas a workload must have to lend its pod to the first wave: should that go wrong, most
	// of it serves on.
	manyReplicas = 3
	// canaryPercent of these workloads lend one.
	canaryPercent = 5
)

// Waves splits the pods that take part, in the order in which they are to be replaced. A problem says
// which wave of the spec picks no pod.
//
// It depends on the pods' names alone, so every look gives the same waves as long as the pods stay.
func Waves(spec []v1alpha1.Wave, pods []Pod) (waves [][]Pod, problem string) {
	order := spread(pods)
	take := func(pick func(Pod) bool) {
		var wave, rest []Pod
		for _, p := range order {
			if pick(p) {
				wave = append(wave, p)
			} else {
				rest = append(rest, p)
			}
		}
		order = rest
		if len(wave) > 0 {
			waves = append(waves, wave)
		}
	}
	take(func(p Pod) bool { return p.Order == names.UpgradeFirst })
	if len(spec) > 0 {
		return chosen(spec, order, waves)
	}
	sizes := sizes(order)
	canaries := canaries(order, sizes)
	take(func(p Pod) bool { return canaries[p.key()] })
	several := 0
	for _, p := range order {
		if sizes[p.Workload] > 1 {
			several++
		}
	}
	for _, percent := range []int{25, 50, 100} {
		left := share(several+len(canaries), percent) - len(canaries)
		if n := share(several+len(canaries), before(percent)) - len(canaries); n > 0 {
			left -= n
		}
		take(func(p Pod) bool {
			if sizes[p.Workload] < 2 || left <= 0 {
				return false
			}
			left--
			return true
		})
	}
	take(func(Pod) bool { return true })
	return waves, ""
}

// before is the percentage of the default wave before.
func before(percent int) int {
	switch percent {
	case 50:
		return 25
	case 100:
		return 50
	}
	return 0
}

// chosen are the waves of the spec, behind those that are first anyway.
func chosen(spec []v1alpha1.Wave, order []Pod, waves [][]Pod) ([][]Pod, string) {
	problem := ""
	gone := map[string]bool{}
	for i, w := range spec {
		pick := labels.Everything()
		if w.Selector != nil {
			s, err := metav1.LabelSelectorAsSelector(w.Selector)
			if err != nil {
				return nil, fmt.Sprintf("spec.upgrade.waves[%d].selector can't be used: %v", i, err)
			}
			pick = s
		}
		matching, did := 0, 0
		for _, p := range order {
			if pick.Matches(labels.Set(p.Labels)) {
				matching++
				if gone[p.key()] {
					did++
				}
			}
		}
		if w.Selector != nil && matching == 0 && len(order) > 0 && problem == "" {
			problem = fmt.Sprintf("spec.upgrade.waves[%d].selector (%s) picks no pod: correct it, or take the wave out", i, pick)
		}
		upTo := matching
		if w.Percent != nil {
			upTo = share(matching, int(*w.Percent))
		}
		var wave []Pod
		for _, p := range order {
			if did < upTo && !gone[p.key()] && pick.Matches(labels.Set(p.Labels)) {
				wave = append(wave, p)
				gone[p.key()] = true
				did++
			}
		}
		if len(wave) > 0 {
			waves = append(waves, wave)
		}
	}
	return waves, problem
}

// spread orders the pods so that each beginning of the list takes evenly from all workloads.
func spread(pods []Pod) []Pod {
	var out []Pod
	for _, p := range pods {
		if p.takesPart() {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b Pod) int { return cmp.Compare(a.key(), b.key()) })
	sizes, ranks := sizes(out), map[string]int{}
	position := map[string]float64{}
	for _, p := range out {
		position[p.key()] = (float64(ranks[p.Workload]) + 0.5) / float64(sizes[p.Workload])
		ranks[p.Workload]++
	}
	slices.SortFunc(out, func(a, b Pod) int {
		return cmp.Or(cmp.Compare(position[a.key()], position[b.key()]), cmp.Compare(hash(a.Workload), hash(b.Workload)), cmp.Compare(a.key(), b.key()))
	})
	return out
}

func sizes(pods []Pod) map[string]int {
	n := map[string]int{}
	for _, p := range pods {
		n[p.Workload]++
	}
	return n
}

// canaries are one pod each of a few of the workloads that can spare it.
func canaries(order []Pod, sizes map[string]int) map[string]bool {
	able := 0
	for _, n := range sizes {
		if n >= manyReplicas {
			able++
		}
	}
	left := share(able, canaryPercent)
	pods, lent := map[string]bool{}, map[string]bool{}
	for _, p := range order {
		if left > 0 && sizes[p.Workload] >= manyReplicas && !lent[p.Workload] {
			pods[p.key()], lent[p.Workload] = true, true
			left--
		}
	}
	return pods
}

// share is a percentage of n, rounded up.
func share(n, percent int) int { return (n*percent + 99) / 100 }

func hash(s string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(s))
	return h.Sum64()
}

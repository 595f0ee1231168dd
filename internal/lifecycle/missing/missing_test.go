// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package missing

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"tulle.dev/tulle/internal/names"
)

var made = time.Unix(1_000_000, 0)

func pod(name, apiVersion, kind, owner string, change func(*corev1.Pod)) corev1.Pod {
	p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: name, UID: types.UID(name), Labels: map[string]string{}, CreationTimestamp: metav1.NewTime(made),
	}}
	if kind != "" {
		yes := true
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: apiVersion, Kind: kind, Name: owner, UID: types.UID(owner), Controller: &yes}}
	}
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	if change != nil {
		change(&p)
	}
	return p
}

func found(list []Pod) []string {
	var out []string
	for _, p := range list {
		out = append(out, p.Name)
	}
	return out
}

func TestAsks(t *testing.T) {
	on, off, odd := labels.Set{names.LabelInject: "enabled"}, labels.Set{names.LabelInject: "disabled"}, labels.Set{names.LabelInject: "yes"}
	team, err := labels.Parse("team=w")
	if err != nil {
		t.Fatal(err)
	}
	w := labels.Set{"team": "w"}
	for _, c := range []struct {
		name      string
		namespace string
		pod, of   labels.Set
		selector  labels.Selector
		want      bool
	}{
		{"the namespace asks", "shop", nil, on, nil, true},
		{"nobody asks", "shop", nil, nil, nil, false},
		{"the pod asks", "shop", on, off, nil, true},
		{"the pod refuses", "shop", off, on, nil, false},
		{"the selector asks", "shop", nil, w, team, true},
		{"the selector asks others", "shop", nil, nil, team, false},
		{"the namespace refuses what the selector asks", "shop", nil, labels.Merge(w, off), team, false},
		{"a label that means nothing", "shop", nil, labels.Merge(w, odd), team, false},
		{"the application does without", "shop", labels.Set{names.LabelClient: names.ClientGRPC}, on, nil, false},
		{"the system namespace", "tulle-system", on, on, nil, false},
		{"kube-system", "kube-system", on, on, nil, false},
	} {
		if got := Asks(c.namespace, c.pod, c.of, c.selector, "tulle-system"); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestIn(t *testing.T) {
	list := []corev1.Pod{
		pod("bare", "", "", "", nil),
		pod("cart-1", "apps/v1", "ReplicaSet", "cart", nil),
		pod("cart-2", "apps/v1", "ReplicaSet", "cart", func(p *corev1.Pod) { p.Labels[names.LabelProxy] = names.KindSidecar }),
		pod("db-0", "apps/v1", "StatefulSet", "db", nil),
		pod("db-1", "apps/v1", "StatefulSet", "db", func(p *corev1.Pod) {
			p.Labels[names.LabelProxy] = names.KindSidecar
			p.Status.Conditions = nil
		}),
		pod("ended", "apps/v1", "ReplicaSet", "cart", func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed; p.Status.Conditions = nil }),
		pod("host", "apps/v1", "DaemonSet", "agent", func(p *corev1.Pod) { p.Spec.HostNetwork = true }),
		pod("job", "batch/v1", "Job", "once", nil),
		pod("leaving", "apps/v1", "ReplicaSet", "old", func(p *corev1.Pod) { now := metav1.NewTime(made); p.DeletionTimestamp = &now }),
		pod("odd", "example.com/v1", "Game", "chess", nil),
		pod("off", "apps/v1", "ReplicaSet", "off", func(p *corev1.Pod) { p.Labels[names.LabelInject] = names.InjectDisabled }),
		pod("static", "v1", "Node", "n", func(p *corev1.Pod) { p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"} }),
		pod("windows", "apps/v1", "ReplicaSet", "win", func(p *corev1.Pod) { p.Spec.OS = &corev1.PodOS{Name: corev1.Windows} }),
	}
	// Pages may part the pods of a workload.
	n := In(labels.Set{names.LabelInject: names.InjectEnabled}, nil, "tulle-system")
	for _, p := range list {
		n.Add([]corev1.Pod{p})
	}
	got := n.Pods()
	if d := cmp.Diff([]string{"bare", "cart-1", "db-0", "job", "odd"}, found(got)); d != "" {
		t.Errorf("missing (-want +got):\n%s", d)
	}
	// Of those, only what comes back by itself and whose workload is steady is made anew.
	if d := cmp.Diff([]string{"cart-1"}, found(Choose(got, made.Add(settle)))); d != "" {
		t.Errorf("chosen (-want +got):\n%s", d)
	}
	if young := Choose(got, made.Add(settle-time.Second)); len(young) > 0 {
		t.Errorf("chosen although just made: %v", found(young))
	}
}

// TestChooseIsFair: a few at once, one of each workload, and everybody's turn comes.
func TestChooseIsFair(t *testing.T) {
	var list []Pod
	for i := range 23 {
		for j := range 3 {
			list = append(list, Pod{Namespace: "shop", Name: fmt.Sprintf("w%02d-%d", i, j), Workload: types.UID(fmt.Sprint("w", i)), Created: made})
		}
	}
	turns := map[types.UID]int{}
	for round := range 46 {
		got := Choose(list, made.Add(time.Hour+time.Duration(round)*Every))
		if len(got) != atOnce {
			t.Fatalf("round %d: %v", round, found(got))
		}
		at := map[types.UID]bool{}
		for _, p := range got {
			if at[p.Workload] {
				t.Errorf("round %d: two pods of %s", round, p.Workload)
			}
			at[p.Workload] = true
			turns[p.Workload]++
		}
	}
	for i := range 23 {
		if n := turns[types.UID(fmt.Sprint("w", i))]; n < 5 {
			t.Errorf("workload %d had %d turns of 46 rounds", i, n)
		}
	}
}

// TestNamespacesHaveTurns: pods that can't be evicted delay the pods of other namespaces by no more than a turn of each
// namespace, and the workloads of a large namespace have all their turns.
func TestNamespacesHaveTurns(t *testing.T) {
	list := []Pod{{Namespace: "copy", Name: "a", Workload: "shop-0", Created: made}} // the UID of another namespace's workload
	add := func(namespace string, n int) {
		for i := range n {
			list = append(list, Pod{Namespace: namespace, Name: fmt.Sprint("w", i), Workload: types.UID(fmt.Sprint(namespace, "-", i)), Created: made})
		}
	}
	add("kept", 300)
	add("shop", 2)
	for i := range 20 {
		add(fmt.Sprint("small-", i), 1)
	}
	const namespaces, few = 23, 23/atOnce + 1 // rounds in which each namespace has a turn
	last := map[string]int{}
	had := map[string]bool{}
	for round := range 300 * namespaces / atOnce {
		got := Choose(list, made.Add(time.Hour+time.Duration(round)*Every))
		if len(got) != atOnce {
			t.Fatalf("round %d: %v", round, found(got))
		}
		for _, p := range got {
			last[p.Namespace] = round
			had[p.Namespace+"/"+p.Name] = true
		}
		for _, p := range list {
			if round >= few && round-last[p.Namespace] > few {
				t.Fatalf("round %d: the last turn of %s was in round %d", round, p.Namespace, last[p.Namespace])
			}
		}
		if round == 2*few {
			for _, w := range []string{"copy/a", "shop/w0", "shop/w1"} {
				if !had[w] {
					t.Errorf("%s had no turn in %d rounds", w, round)
				}
			}
		}
	}
	if len(had) != len(list) {
		t.Errorf("%d pods of %d had a turn", len(had), len(list))
	}
	// A namespace with one workload takes one place.
	list = nil
	add("kept", 10)
	add("shop", 1)
	got := map[Pod]bool{}
	for _, p := range Choose(list, made.Add(time.Hour)) {
		got[p] = true
	}
	if len(got) != atOnce || !got[list[10]] {
		t.Errorf("%v", got)
	}
}

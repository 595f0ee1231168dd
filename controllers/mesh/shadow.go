// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package mesh

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"

	"tulle.dev/tulle/internal/lifecycle/shadow"
	"tulle.dev/tulle/internal/names"
)

// confirmAfter is how long a difference must last to be told.
const confirmAfter = time.Second

// Translation asks a replica of a control plane what it makes of the cluster. A replica that has not
// yet read everything, or that is of a release that doesn't tell, is an error.
func (d Debug) Translation(ctx context.Context, pod corev1.Pod) (shadow.Translation, error) {
	var t shadow.Translation
	if err := d.get(ctx, &pod, names.PathTranslation, &t); err != nil {
		return t, err
	}
	if !t.Synced {
		return t, fmt.Errorf("ask Pod %s for its translation: it has not read the whole cluster yet", pod.Name)
	}
	return t, nil
}

// Difference asks one ready replica of each control plane, and once more if they differ: only what
// lasts is told, because the cluster goes on changing between two questions. nil without an error:
// one of the two has no ready replica to ask.
func (d Debug) Difference(ctx context.Context, oldPods, newPods []corev1.Pod) (*shadow.Difference, error) {
	before, after := askable(oldPods), askable(newPods)
	if before == nil || after == nil {
		return nil, nil
	}
	first, err := d.compare(ctx, *before, *after)
	if err != nil {
		return nil, err
	}
	if first.None() {
		return &first, nil
	}
	select {
	case <-ctx.Done():
		return nil, errors.Join(errors.New("compare two control planes"), ctx.Err())
	case <-time.After(confirmAfter):
	}
	later, err := d.compare(ctx, *before, *after)
	if err != nil {
		return nil, err
	}
	lasting := first.Confirmed(later)
	return &lasting, nil
}

// compare asks both at once, to see the same cluster as far as possible.
func (d Debug) compare(ctx context.Context, before, after corev1.Pod) (shadow.Difference, error) {
	var told [2]shadow.Translation
	g, ctx := errgroup.WithContext(ctx)
	for i, p := range []corev1.Pod{before, after} {
		g.Go(func() (err error) {
			told[i], err = d.Translation(ctx, p)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return shadow.Difference{}, err
	}
	return shadow.Diff(told[0], told[1]), nil
}

// askable is the first ready replica by name; nil: there is none.
func askable(pods []corev1.Pod) *corev1.Pod {
	pods = slices.Clone(pods)
	slices.SortFunc(pods, func(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	i := slices.IndexFunc(pods, func(p corev1.Pod) bool { return ready(p) && p.Status.PodIP != "" })
	if i < 0 {
		return nil
	}
	return &pods[i]
}

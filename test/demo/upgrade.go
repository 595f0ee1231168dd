// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/release"
	"tulle.dev/tulle/internal/names"
)

// upgradeSample is a mesh of the release before.
const upgradeSample = "config/samples/upgrade/mesh.yaml"

// patience bounds one change of the release, and the traffic meanwhile.
const patience = 8 * time.Minute

// quietEnd is how long the traffic goes on when the upgrade has ended.
const quietEnd = 3 * time.Second

// before is the release that the demo upgrades from: the one before the newest.
func before() string {
	known := release.Known("", "")
	i := slices.IndexFunc(known, func(r release.Release) bool { return r.Version == release.Current })
	return known[max(i-1, 0)].Version
}

// oldMesh makes a mesh of the release before, or takes the one that is there back to it.
func (d *demo) oldMesh(ctx context.Context) error {
	m, err := d.mesh(ctx)
	if err != nil {
		return err
	}
	if m != nil && m.Status.Version != "" && m.Status.Version != before() {
		d.say.line("there is a mesh already, of release %s: it goes back to %s first, the same way as forward", m.Status.Version, before())
	}
	if err := d.kubectlApply(ctx, "apply", "-f", upgradeSample); err != nil {
		return err
	}
	if m, err = d.follow(ctx, before(), nil); err != nil {
		return err
	}
	d.say.line("the mesh runs %s", m.Status.Version)
	return nil
}

// mesh reads the demo's Mesh; nil: it is not there.
func (d *demo) mesh(ctx context.Context) (*v1alpha1.Mesh, error) {
	u, err := d.get(ctx, v1alpha1.GroupVersion().WithResource("meshes"), "", meshName)
	if err != nil || u == nil {
		return nil, err
	}
	m := &v1alpha1.Mesh{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, m); err != nil {
		return nil, fmt.Errorf("read Mesh %s: %w", meshName, err)
	}
	return m, nil
}

// moreReplicas gives the waves something to choose from.
func (d *demo) moreReplicas(ctx context.Context) error {
	if err := d.kubectlApply(ctx, "-n", namespace, "scale", "deployment", "web", "catalog", "--replicas=3"); err != nil {
		return err
	}
	return await(ctx, d.say, 2*time.Minute, func(ctx context.Context) (bool, string, error) {
		return d.deploymentsReady(ctx, namespace)
	})
}

// upgraded is what the upgrade step noted.
type upgraded struct {
	streams       []*stream
	mesh          *v1alpha1.Mesh
	before, after []corev1.Pod
}

// upgrade changes the release while requests run.
func (d *demo) upgrade(ctx context.Context) (err error) {
	if d.upgraded.before, err = d.applications(ctx); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, d.endJobs(context.WithoutCancel(ctx)))
	}()
	traffic, stop := context.WithCancel(ctx)
	defer stop()
	if err := d.startTraffic(traffic); err != nil {
		return err
	}
	for _, s := range d.upgraded.streams {
		err := await(ctx, d.say, time.Minute, func(context.Context) (bool, string, error) {
			return s.last().OK >= 20, "the first requests " + s.name, nil
		})
		if err != nil {
			return err
		}
	}
	change := fmt.Sprintf(`{"spec":{"version":%q}}`, release.Current)
	if err := d.kubectlApply(ctx, "patch", "tmesh", meshName, "--type=merge", "-p", change); err != nil {
		return err
	}
	if d.upgraded.mesh, err = d.follow(ctx, release.Current, d.upgraded.streams); err != nil {
		return err
	}
	ended := time.Now()
	err = await(ctx, d.say, time.Minute, func(context.Context) (bool, string, error) {
		return time.Since(ended) > quietEnd, "the last requests", nil
	})
	if err != nil {
		return err
	}
	for _, s := range d.upgraded.streams {
		if err := s.broken(); err != nil {
			return err
		}
	}
	stop()
	d.upgraded.after, err = d.applications(ctx)
	return err
}

// endJobs ends the Jobs that send requests until they are told.
func (d *demo) endJobs(ctx context.Context) error {
	background := metav1.DeletePropagationBackground
	for _, j := range d.jobs {
		err := d.typed.BatchV1().Jobs(j.Namespace).Delete(ctx, j.Name, metav1.DeleteOptions{PropagationPolicy: &background})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("delete Job %s: %w", j, err)
		}
	}
	return nil
}

// startTraffic sends requests between pods and through the Gateway, until ctx ends.
func (d *demo) startTraffic(ctx context.Context) error {
	kept, err := d.job(ctx, "between pods", "shopper", namespace, "http://web", patience)
	if err != nil {
		return err
	}
	fresh, err := d.job(ctx, "between pods, a new connection each", "browser", namespace, "http://reviews", patience, "-new-connections")
	if err != nil {
		return err
	}
	outside, err := d.outside(ctx, patience)
	if err != nil {
		return err
	}
	d.upgraded.streams = []*stream{outside, kept, fresh}
	return nil
}

// broken tells why a stream ended before it was told to.
func (s *stream) broken() error {
	select {
	case err := <-s.done:
		if err == nil {
			err = errors.New("its time was over")
		}
		return fmt.Errorf("traffic %s ended too early: %w", s.name, err)
	default:
		return nil
	}
}

// applications are the meshed pods of the shop, without those that send the requests.
func (d *demo) applications(ctx context.Context) ([]corev1.Pod, error) {
	list, err := d.typed.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{
		LabelSelector: names.LabelProxy + "=" + names.KindSidecar + ",!job-name",
	})
	if err != nil {
		return nil, fmt.Errorf("list the shop's pods: %w", err)
	}
	return list.Items, nil
}

// follow shows a change of the release until it has ended.
func (d *demo) follow(ctx context.Context, to string, streams []*stream) (*v1alpha1.Mesh, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	v := view{to: to}
	for shown := time.Now(); ; {
		m, err := d.mesh(ctx)
		if err != nil && ctx.Err() == nil {
			d.say.now("waiting: %v", err)
		}
		if m != nil {
			lines, live := v.next(m)
			for _, l := range lines {
				d.say.line("%s", l)
			}
			if done, err := v.over(m); done || err != nil {
				return m, err
			}
			if d.say.tty || live != v.said || time.Since(shown) > 5*time.Second {
				v.said, shown = live, time.Now()
				d.say.now("%s", strings.TrimSuffix(live+" | "+standing(streams), " | "))
			}
		}
		for _, s := range streams {
			if err := s.broken(); err != nil {
				return nil, err
			}
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("the mesh does not run %s yet (%s): %w", to, v.said, ctx.Err())
		case <-tick.C:
		}
	}
}

// standing says how the streams are: "412 requests, 0 failed".
func standing(streams []*stream) string {
	sent, failed := 0, 0
	for _, s := range streams {
		sum := s.last()
		sent, failed = sent+sum.Sent, failed+sum.Failed
	}
	if sent == 0 {
		return ""
	}
	return fmt.Sprintf("%d requests, %d failed", sent, failed)
}

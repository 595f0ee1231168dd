// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/cli/cluster"
	"tulle.dev/tulle/internal/cli/unmesh"
	"tulle.dev/tulle/internal/names"
)

// await looks every second until there is nothing to wait for; look says what it waits for.
func await(ctx context.Context, timeout time.Duration, look func(context.Context) (waits string, err error)) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	last := ""
	for {
		waits, err := look(ctx)
		switch {
		case errors.Is(ctx.Err(), context.DeadlineExceeded):
			return fmt.Errorf("not within %s: %s", timeout, cmp.Or(waits, last))
		case err != nil:
			return err
		case waits == "":
			return nil
		}
		last = waits
		if err := pause(ctx, watchEvery); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
	}
}

// unmesh takes workloads out of the mesh.
func (u *uninstall) unmesh(ctx context.Context, p unmesh.Plan) error {
	if p.Permissive {
		if err := u.permit(ctx); err != nil {
			return fmt.Errorf("permit plaintext: %w", err)
		}
	}
	for i, w := range p.Waves {
		u.say("wave %d of %d: %s", i+1, len(p.Waves), refs(w.Workloads))
		if err := u.wave(ctx, u.c, w); err != nil {
			if u.force && ctx.Err() == nil {
				u.say("wave %d of %d: %v; going on without it (--force)", i+1, len(p.Waves), err)
				u.left = true
				continue
			}
			return fmt.Errorf("wave %d of %d: %w; nothing else was touched: see to it and run this again, it goes on from here", i+1, len(p.Waves), err)
		}
	}
	return nil
}

// permit lets meshed pods take plaintext: those that are out of the mesh have nothing else to offer.
func (u *uninstall) permit(ctx context.Context) error {
	was, err := u.c.Inbound(ctx)
	if err != nil {
		return err
	}
	m, err := u.c.ActiveMesh(ctx) // as it is now: its status changes all the time
	if err != nil {
		return err
	}
	spec := map[string]any{"mtls": map[string]any{"mode": string(v1alpha1.MTLSPermissive)}}
	if err := u.c.ChangeMesh(ctx, m, spec); err != nil {
		return err
	}
	u.say("Mesh %s takes plaintext too from now on (mtls.mode Permissive)", m.Name)
	var lag []string
	err = await(ctx, u.timeout, func(ctx context.Context) (string, error) {
		is, err := u.c.Inbound(ctx)
		if err != nil || !is.ChangedFrom(was) {
			return "the control plane has not taken it up", err
		}
		now, err := u.c.Unacknowledged(ctx)
		if err != nil {
			return "", err
		}
		if lag = now; len(lag) > 0 {
			return fmt.Sprintf("%d proxies have not taken it up: %s; see their logs, or delete their pods", len(lag), few(lag)), nil
		}
		return "", nil
	})
	switch {
	case err == nil:
		u.say("every proxy has taken that up")
	case u.force && len(lag) > 0 && ctx.Err() == nil:
		u.say("%v; going on without them (--force)", err)
		err = nil
	}
	return err
}

// restarts has workloads replace their pods; see cluster.Cluster.
type restarts interface {
	Unmesh(ctx context.Context, r unmesh.Ref, at time.Time) error
	Restarted(ctx context.Context, r unmesh.Ref) (cluster.Progress, error)
}

// wave restarts a few workloads. The first that can't be restarted without a proxy ends it; with --force each is waited for,
// and the error names all of them.
func (u *uninstall) wave(ctx context.Context, c restarts, w unmesh.Wave) error {
	var open []unmesh.Ref
	var failed []error
	for _, r := range w.Workloads {
		err := c.Unmesh(ctx, r, time.Now())
		switch {
		case err == nil || cluster.IsNotFound(err):
			open = append(open, r)
		case !u.force:
			return err
		default:
			failed = append(failed, err)
		}
	}
	err := await(ctx, u.timeout, func(ctx context.Context) (string, error) {
		var waits []string
		for _, r := range slices.Clone(open) {
			p, err := c.Restarted(ctx, r)
			if err == nil && p.InVain {
				err = fmt.Errorf("%s was restarted and %d of its pods have a proxy again: something removes the label tulle.dev/inject=disabled from its template, or the template has the proxy's containers", r, p.Proxies)
			}
			switch {
			case err != nil && (!u.force || ctx.Err() != nil):
				return "", err
			case err != nil:
				failed = append(failed, err)
			case p.Done:
				u.say("%s: out of the mesh, %d of %d pods", r, p.Replaced, p.Wanted)
			default:
				why := fmt.Sprintf("%s: %d of %d pods replaced", r, p.Replaced, p.Wanted)
				if p.Message != "" {
					why += " (" + p.Message + ")"
				}
				waits = append(waits, why)
				continue
			}
			open = slices.DeleteFunc(open, func(x unmesh.Ref) bool { return x == r })
		}
		return strings.Join(waits, "; "), nil
	})
	return errors.Join(append(failed, err)...)
}

// delete takes the Mesh down and waits for its end.
func (u *uninstall) delete(ctx context.Context, seen unmesh.Seen, force bool) error {
	m := *seen.Mesh
	if err := u.c.DeleteMesh(ctx, m, force); err != nil {
		return err
	}
	u.say("Mesh %s is being deleted", m.Name)
	var inUse time.Time
	err := await(ctx, u.timeout, func(ctx context.Context) (string, error) {
		there, by, err := u.c.MeshInUse(ctx, m)
		switch {
		case err != nil:
			return "", err
		case !there:
			return "", nil
		case by == "":
			inUse = time.Time{}
			return "it is there; does the operator run? kubectl -n " + u.c.System(ctx) + " get deployment tulle-operator", nil
		case inUse.IsZero() || time.Since(inUse) > stillInUse: // pods that end are counted until they have
			free, err := u.release(ctx, m)
			if err != nil {
				return "", err
			}
			if !free && !inUse.IsZero() {
				return "", fmt.Errorf("it is in use: %s; then it goes by itself", by)
			}
			inUse = time.Now()
		}
		return by, nil
	})
	if err != nil {
		return fmt.Errorf("delete Mesh %s: %w", m.Name, err)
	}
	u.say("Mesh %s is gone", m.Name)
	return nil
}

// release has the operator delete a Mesh that only pods without a proxy keep, which have the label of one.
func (u *uninstall) release(ctx context.Context, m v1alpha1.Mesh) (free bool, err error) {
	seen, err := u.c.UnmeshSeen(ctx)
	if err != nil || len(seen.Labelled) == 0 || len(seen.Pods)+seen.Others+len(seen.Gateways)+len(seen.Routes) > 0 {
		return false, err
	}
	u.say("pods with the label %s and without a proxy do not keep Mesh %s: %s", names.LabelProxy, m.Name, few(seen.Labelled))
	return true, u.c.AnnotateMesh(ctx, m, map[string]any{names.AnnotationForceDelete: "true"})
}

// stillInUse is how long pods may take that are ending.
const stillInUse = 2 * time.Minute

func refs(list []unmesh.Ref) string {
	out := make([]string, len(list))
	for i, r := range list {
		out[i] = r.String()
	}
	return strings.Join(out, ", ")
}

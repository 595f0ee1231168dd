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
		if err := u.wave(ctx, w); err != nil {
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
	err = await(ctx, u.timeout, func(ctx context.Context) (string, error) {
		is, err := u.c.Inbound(ctx)
		if err != nil || !is.ChangedFrom(was) {
			return "the control plane has not taken it up", err
		}
		n, err := u.c.Unacknowledged(ctx)
		if err != nil || n > 0 {
			return fmt.Sprintf("%d proxies have not taken it up", n), err
		}
		return "", nil
	})
	if err == nil {
		u.say("every proxy has taken that up")
	}
	return err
}

func (u *uninstall) wave(ctx context.Context, w unmesh.Wave) error {
	for _, r := range w.Workloads {
		if err := u.c.Unmesh(ctx, r, time.Now()); err != nil && !cluster.IsNotFound(err) {
			return err
		}
	}
	open := slices.Clone(w.Workloads)
	return await(ctx, u.timeout, func(ctx context.Context) (string, error) {
		var waits []string
		for _, r := range slices.Clone(open) {
			p, err := u.c.Restarted(ctx, r)
			switch {
			case err != nil:
				return "", err
			case p.Done:
				u.say("%s: out of the mesh, %d of %d pods", r, p.Replaced, p.Wanted)
				open = slices.DeleteFunc(open, func(x unmesh.Ref) bool { return x == r })
				continue
			case p.InVain:
				return "", fmt.Errorf("%s was restarted and %d of its pods got a proxy again: who takes the label tulle.dev/inject=disabled from its template?", r, p.Proxies)
			}
			why := fmt.Sprintf("%s: %d of %d pods replaced", r, p.Replaced, p.Wanted)
			if p.Message != "" {
				why += " (" + p.Message + ")"
			}
			waits = append(waits, why)
		}
		return strings.Join(waits, "; "), nil
	})
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
		case inUse.IsZero():
			inUse = time.Now() // pods that end are counted until they have
		case time.Since(inUse) > stillInUse:
			return "", fmt.Errorf("it is in use: %s; then it goes by itself", by)
		}
		return by, nil
	})
	if err != nil {
		return fmt.Errorf("delete Mesh %s: %w", m.Name, err)
	}
	u.say("Mesh %s is gone", m.Name)
	return nil
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

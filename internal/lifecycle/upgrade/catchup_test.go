// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package upgrade

import (
	"slices"
	"strings"
	"testing"
	"time"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/names"
)

// leftBehind is a mesh of 0.3.0, Gateway included, in which one pod of 0.2.0 has just become Ready.
func leftBehind(t *testing.T) (*world, *simPod) {
	t.Helper()
	w := newWorld(t, 31, 4, 1)
	w.add("gw-1", "shop/ReplicaSet/gw", "0.2.0", names.KindGateway)
	late := w.pods["shop/w1-0"]
	late.Ready = false
	w.wanted = "0.3.0"
	w.until(v1alpha1.PhaseCompleted)
	w.operate(-1)
	late.Ready = true
	return w, late
}

// TestCatchUp: a proxy that was left behind is replaced without the old control plane, and without
// touching what is up to date.
func TestCatchUp(t *testing.T) {
	w, late := leftBehind(t)
	for range 100 {
		d := w.operate(-1)
		if d.Serve != "0.3.0" || d.Gateways != "0.3.0" || !slices.Equal(d.Deploy, []string{"0.3.0"}) {
			t.Fatalf("serves %s, Gateways of %s, deploys %v", d.Serve, d.Gateways, d.Deploy)
		}
		for _, m := range d.Moves {
			if m.Name != late.Name {
				t.Errorf("moves %+v", m)
			}
		}
		w.pass(2 * time.Second)
	}
	w.all("0.3.0")
	if w.status.Phase != v1alpha1.PhaseCompleted {
		t.Errorf("%+v", w.status)
	}
}

// TestCatchUpFails: one proxy that can't be brought up to date stays as it is, and nothing else goes back for it.
func TestCatchUpFails(t *testing.T) {
	w, late := leftBehind(t)
	w.broken["0.3.0"] = true // those that serve already go on
	for range 200 {
		if d := w.operate(-1); d.Serve != "0.3.0" || d.Gateways != "0.3.0" {
			t.Fatalf("serves %s, Gateways of %s: %+v", d.Serve, d.Gateways, d.Status)
		}
		w.pass(2 * time.Second)
	}
	if late.version() != "0.2.0" || w.status.Phase != v1alpha1.PhaseCompleted || !strings.Contains(w.status.Message, "w1-0 goes on with 0.2.0") {
		t.Errorf("%s, %+v", late.version(), w.status)
	}
	for _, e := range w.events {
		if e == "RollingBack" {
			t.Error("one pod turned the whole mesh round")
		}
	}
}

// TestGatewaysDontTurnBack: once the Gateways are deployed from the new release, a pod that is late, or
// a pause, does not send them back.
func TestGatewaysDontTurnBack(t *testing.T) {
	w := newWorld(t, 32, 4, 1)
	w.add("gw-1", "shop/ReplicaSet/gw", "0.2.0", names.KindGateway)
	late := w.pods["shop/w1-0"]
	late.Ready = false
	w.wanted = "0.3.0"
	for range 500 {
		w.operate(-1)
		if w.gateways == "0.3.0" {
			break
		}
		w.pass(2 * time.Second)
	}
	if w.gateways != "0.3.0" || w.status.Finished != nil {
		t.Fatalf("never at the Gateways: %+v", w.status)
	}
	late.Ready = true
	for i := range 30 {
		w.spec.Paused = i < 3
		if d := w.operate(-1); d.Gateways != "0.3.0" {
			t.Fatalf("the Gateways go back to %s: %+v", d.Gateways, d.Status)
		}
		w.pass(2 * time.Second)
	}
	w.until(v1alpha1.PhaseCompleted)
	w.all("0.3.0")
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package rotation

import (
	"slices"
	"strings"
	"testing"
	"time"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/health"
	"tulle.dev/tulle/internal/names"
)

// TestANewMeshRequiresIntermediates from its first ConfigMap on, and its first intermediate may sign at once.
func TestANewMeshRequiresIntermediates(t *testing.T) {
	w := newWorld(t, 20)
	w.install()
	x := w.secrets[names.IntermediateSecret]
	id := health.Fingerprint(x.cert)
	if w.anchors.Intermediates != string(text(x.cert)) || w.anchors.Recorded != "" || w.anchors.Signers != id+"\n" {
		t.Errorf("%+v", w.anchors)
	}
	st := w.mesh.Status
	if st.IntermediatesRequiredSince == nil || len(st.Intermediates) != 1 || st.Intermediates[0].SHA256 != id || !st.Intermediates[0].Active || !st.Intermediates[0].Distributed {
		t.Errorf("%+v", st)
	}
	if Asks(w.mesh) {
		t.Error("the replicas are asked although there is nothing to wait for")
	}
}

// TestIntermediatesRenew: while cert-manager renews the intermediate again and again, replicas restart, the
// operator crashes, and proxies come and go, there is never a proxy whose certificate another one refuses;
// and in the end one intermediate is left.
func TestIntermediatesRenew(t *testing.T) {
	for seed := range uint64(6) {
		w := newWorld(t, 100+seed)
		w.install()
		w.renewing = true
		first, moves := w.secrets[names.IntermediateSecret], 4000
		w.settle("renewed at random", func() bool { moves--; return moves < 0 })
		w.renewing = false
		w.settle("one intermediate is left", func() bool {
			w.now = w.now.Add(time.Minute) // proxies renew by themselves
			return w.alone(names.RootSecret, nil)
		})
		if w.secrets[names.IntermediateSecret] == first {
			t.Fatal("nothing was renewed")
		}
	}
}

// TestEarlyIntermediatesAreNoticed: with replicas that sign with what is not distributed yet, the property
// above does see it.
func TestEarlyIntermediatesAreNoticed(t *testing.T) {
	for seed := range uint64(20) {
		w := newWorld(t, seed)
		w.install()
		w.early, w.renewing = true, true
		for range 4000 {
			w.others()
			w.now = w.now.Add(5 * time.Minute)
			if w.verifiable() != nil {
				return
			}
		}
	}
	t.Error("no proxy noticed an intermediate that it does not know")
}

// asBefore makes the mesh one of a release that knew only roots, whose operator was just replaced.
func (w *world) asBefore() {
	w.former, w.anchors = true, Anchors{}
	w.mesh.Status.Intermediates, w.mesh.Status.IntermediatesRequiredSince = nil, nil
	for ns := range w.copies {
		w.copyTo(ns)
	}
	for _, r := range w.replicas {
		w.mount(r)
	}
	for _, p := range w.proxies {
		w.accept(p)
	}
}

// round is one reconciliation, after which everybody follows.
func (w *world) round() Result {
	w.t.Helper()
	res := Next(w.mesh, w.see(), w.now)
	w.operator(-1)
	for ns := range w.copies {
		w.copyTo(ns)
	}
	for _, r := range w.replicas {
		w.mount(r)
	}
	for _, p := range w.proxies {
		w.accept(p)
	}
	if err := w.verifiable(); err != nil {
		w.t.Fatal(err)
	}
	w.now = w.now.Add(time.Minute)
	return res
}

// TestAMeshOfAnEarlierRelease requires intermediates once the replicas can and every certificate in use was
// signed with one that is recorded.
func TestAMeshOfAnEarlierRelease(t *testing.T) {
	w := newWorld(t, 21)
	w.install()
	w.asBefore()
	waits := func(why string) {
		t.Helper()
		for range 3 {
			res := w.round()
			if res.RequiredSince != nil || res.Anchors.Intermediates != "" || !strings.Contains(res.Waiting, why) {
				t.Fatalf("required since %v, waiting: %s; want %q", res.RequiredSince, res.Waiting, why)
			}
		}
	}
	w.round()
	waits("replica-0 of the control plane is of a release that can't require intermediates")
	if w.anchors.Recorded != string(text(w.secrets[names.IntermediateSecret].cert)) {
		t.Error("the intermediate is not recorded")
	}

	// The control plane is upgraded. A proxy still has a certificate that an earlier intermediate signed.
	w.former = false
	root := w.secrets[names.RootSecret].authority
	earlier := w.authority("earlier", &root)
	w.proxies[1].signer = earlier.cert
	w.proxies[2].at = -1
	waits("pods that are not connected to the control plane: a/p2")
	w.proxies[2].at = 0
	waits("renew certificates that an earlier intermediate signed: a/p1")

	// Meanwhile the intermediate is renewed. Both are known.
	old := w.secrets[names.IntermediateSecret]
	delete(w.secrets, names.IntermediateSecret)
	w.issue(names.IntermediateSecret)
	waits("a/p1")
	if n := strings.Count(w.anchors.Recorded, "BEGIN"); n != 2 {
		t.Fatalf("%d intermediates are recorded, want 2", n)
	}
	w.renew(w.proxies[1])
	for range 3 {
		w.round()
	}
	if w.mesh.Status.IntermediatesRequiredSince == nil || strings.Count(w.anchors.Intermediates, "BEGIN") != 2 || w.anchors.Recorded != "" {
		t.Fatalf("%+v", w.anchors)
	}
	if !strings.Contains(w.anchors.Signers, health.Fingerprint(old.cert)) {
		t.Error("the intermediate that the replicas sign with may not sign")
	}
	// The renewed one is distributed, takes over, and the old one goes with the last of its certificates.
	for range 30 {
		w.round()
	}
	for _, p := range w.proxies {
		w.renew(p)
	}
	for range 3 {
		w.round()
	}
	if !w.alone(names.RootSecret, nil) {
		t.Errorf("%+v", w.mesh.Status)
	}
}

// TestRotationOnAnEarlierRelease: a mesh that required intermediates has gone back to a release that knows only
// roots. A change of its root ends all the same, and the list is right once the control plane is upgraded again.
func TestRotationOnAnEarlierRelease(t *testing.T) {
	w := newWorld(t, 26)
	w.install()
	w.former = true
	for i, value := range []string{"one", "two"} {
		w.rotate(value)
		w.settle("the root is replaced on the earlier release", func() bool {
			return phase(w.mesh) == v1alpha1.RotationCompleted && len(w.ids(w.spread)) == 1 && w.mesh.Status.Certificates.Request == value
		})
		if n := len(w.mesh.Status.Intermediates); n != i+2 {
			t.Errorf("%d intermediates are in the list, want %d: nothing shows which are in use", n, i+2)
		}
	}
	w.former = false
	for range 3 {
		w.round()
	}
	for _, p := range w.proxies {
		w.renew(p)
	}
	w.settle("one intermediate is left after the upgrade", func() bool { return len(w.mesh.Status.Intermediates) == 1 })
}

// TestRecordingEnds: a stream whose certificate passes through no intermediate of the mesh, as a forged one's,
// does not hold the requirement up for longer than a certificate of an honest proxy could live.
func TestRecordingEnds(t *testing.T) {
	w := newWorld(t, 22)
	w.install()
	w.asBefore()
	w.former = false
	forged := w.authority("forged", nil)
	reported := func() Seen {
		s := w.see()
		for _, r := range s.Replicas {
			r.Report.Proxies[0].Signer = health.Fingerprint(forged.cert)
		}
		return s
	}
	w.operator(-1)
	if res := Next(w.mesh, reported(), w.now); res.RequiredSince != nil {
		t.Fatal("required at once")
	}
	w.now = w.now.Add(24*time.Hour + time.Minute)
	if res := Next(w.mesh, reported(), w.now); res.RequiredSince != nil {
		t.Fatal("required while certificates of an earlier intermediate may be in use")
	}
	w.now = w.now.Add(time.Hour)
	if res := Next(w.mesh, reported(), w.now); res.RequiredSince == nil {
		t.Errorf("still not required: %s", res.Waiting)
	}
}

// TestDistributionEnds: a proxy that never acknowledges, or a pod that never connects, does not keep a new
// intermediate from signing for ever.
func TestDistributionEnds(t *testing.T) {
	for name, silent := range map[string]func(*Seen){
		"a proxy never acknowledges": func(s *Seen) { s.Replicas[0].Report.Proxies[0].Acknowledged = false },
		"a pod never connects":       func(s *Seen) { s.Missing = []string{"a/p0"} },
		"a namespace never agrees":   func(s *Seen) { s.Lagging = []string{"a"} },
		"a replica never answers":    func(s *Seen) { s.Replicas[0].Report = nil },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 23)
			w.install()
			delete(w.secrets, names.IntermediateSecret)
			w.issue(names.IntermediateSecret)
			w.operator(-1)
			for ns := range w.copies {
				w.copyTo(ns)
			}
			for _, r := range w.replicas {
				w.mount(r)
			}
			for _, p := range w.proxies {
				w.accept(p)
			}
			id := health.Fingerprint(w.secrets[names.IntermediateSecret].cert)
			may := func() bool {
				s := w.see()
				silent(&s)
				return strings.Contains(Next(w.mesh, s, w.now).Anchors.Signers, id)
			}
			if may() {
				t.Fatal("it may sign before every proxy is known to accept it")
			}
			w.now = w.now.Add(graceOf(w.mesh))
			if !may() {
				t.Error("it may not sign, after a day")
			}
		})
	}
}

// TestAForeignIntermediateInTheConfigMap goes away, and one of the mesh that is still in use stays.
func TestAForeignIntermediateInTheConfigMap(t *testing.T) {
	w := newWorld(t, 24)
	w.install()
	forged := w.authority("forged", nil)
	w.anchors.Intermediates += string(text(forged.cert))
	w.operator(-1)
	if got := w.ids(w.anchors.Intermediates); slices.Contains(got, health.Fingerprint(forged.cert)) || len(got) != 1 {
		t.Errorf("%d intermediates", len(got))
	}
	// The ConfigMap is deleted: what is required stays required.
	w.spread, w.anchors = "", Anchors{}
	w.operator(-1)
	if w.anchors.Intermediates == "" || w.mesh.Status.IntermediatesRequiredSince == nil {
		t.Errorf("%+v", w.anchors)
	}
}

// TestARestoredMesh: a backup may be older than the intermediate that signed what running proxies have. So
// the list of the backup is required when they show other certificates, and at once where there are none.
func TestARestoredMesh(t *testing.T) {
	w := newWorld(t, 25)
	w.install()
	w.mesh.Status.Intermediates, w.mesh.Status.IntermediatesRequiredSince = nil, nil
	root := w.secrets[names.RootSecret].authority
	later := w.authority("later than the backup", &root)
	for _, p := range w.proxies {
		p.signer, p.bundle = later.cert, w.spread
	}
	for range 4 {
		w.round()
	}
	if w.mesh.Status.IntermediatesRequiredSince != nil || w.anchors.Intermediates != "" {
		t.Fatal("required of proxies that were running all the while")
	}
	for _, p := range w.proxies {
		w.renew(p)
	}
	for range 3 {
		w.round()
	}
	if w.mesh.Status.IntermediatesRequiredSince == nil || !strings.Contains(w.anchors.Signers, health.Fingerprint(w.secrets[names.IntermediateSecret].cert)) {
		t.Errorf("%+v", w.anchors)
	}
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package rotation

import (
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/health"
	"tulle.dev/tulle/internal/names"
)

// alone tells whether one root is all there is: in the bundle, in every proxy's certificate, in every Secret.
func (w *world) alone(issuer string, not *x509.Certificate) bool {
	x := w.secrets[names.IntermediateSecret]
	if x == nil || x.issuer.Name != issuer || x.root.Equal(not) || w.mesh.Status.Certificates.Active() {
		return false
	}
	only := []string{health.Fingerprint(x.root)}
	if !slices.Equal(w.ids(w.spread), only) || w.secrets[names.NextIntermediateSecret] != nil {
		return false
	}
	for _, bundle := range w.copies {
		if !slices.Equal(w.ids(bundle), only) {
			return false
		}
	}
	for _, p := range w.proxies {
		if !p.root.Equal(x.root) || !w.former && (p.bundle != w.anchors.Intermediates || !strings.Contains(p.bundle, string(text(p.signer)))) {
			return false
		}
	}
	// A former intermediate of the same root stays until the certificates below it have been renewed, hours later.
	if !w.former && (!strings.Contains(w.anchors.Intermediates, string(text(x.cert))) || w.anchors.Recorded != "") {
		return false
	}
	for _, name := range []string{names.RootSecret, names.SecondRootSecret} {
		if _, there := w.secrets[name]; there != (name == issuer) {
			return false
		}
	}
	return true
}

func (w *world) root() *x509.Certificate { return w.secrets[names.IntermediateSecret].root }

// TestNobodyIsEverUnverifiable: through rotations by request, to another issuer and back, called off at
// random, with crashes of the operator at random and proxies that come and go, there is never a proxy
// whose certificate another one can't verify; and each ends with one root everywhere.
func TestNobodyIsEverUnverifiable(t *testing.T) {
	for seed := range uint64(12) {
		w := newWorld(t, seed)
		w.install()
		first := w.root()
		w.rotate("1")
		w.settle("asked for", func() bool { return w.alone(names.SecondRootSecret, first) })
		if phase(w.mesh) != v1alpha1.RotationCompleted || w.mesh.Status.Certificates.NewRoot != health.Fingerprint(w.root()) {
			t.Errorf("seed %d: %+v", seed, w.mesh.Status.Certificates)
		}
		again := Next(w.mesh, w.see(), w.now)
		if again.Progress.Active() {
			t.Fatalf("seed %d: it begins again: %+v", seed, again.Progress)
		}

		w.rotate("2")
		second := w.root()
		w.settle("and again", func() bool { return w.alone(names.RootSecret, second) })

		// Called off at a random moment; from Retiring on that comes too late.
		w.rotate("3")
		third, moves := w.root(), w.rnd.IntN(3000)
		w.settle("for a while", func() bool { moves--; return moves < 0 || phase(w.mesh) == v1alpha1.RotationRetiring })
		late := phase(w.mesh) == v1alpha1.RotationRetiring || !w.mesh.Status.Certificates.Active() && w.mesh.Status.Certificates.Request == "3"
		w.rotate("")
		if late {
			w.settle("too late to call off", func() bool { return w.alone(names.SecondRootSecret, third) })
		} else {
			w.settle("called off", func() bool { return w.alone(names.RootSecret, nil) && w.root().Equal(third) })
		}

		own := w.root()
		w.name(true)
		w.settle("to an issuer", func() bool { return w.alone("corp", own) })
		w.name(false)
		w.settle("and back to a self-made root", func() bool { return w.alone(names.RootSecret, w.corp.cert) })

		// Wavering between the two.
		for i := range 6 {
			w.name(i%2 == 0)
			moves := w.rnd.IntN(400)
			w.settle("wavering", func() bool { moves--; return moves < 0 })
		}
		w.name(true)
		w.settle("the last word counts", func() bool { return w.alone("corp", nil) })
	}
}

// TestTheInvariantCanFail: with replicas that sign below what is not trusted yet, and an issuer that
// is changed behind the operator's back, the property above does see it.
func TestTheInvariantCanFail(t *testing.T) {
	for seed := range uint64(20) {
		w := newWorld(t, seed)
		w.install()
		w.early = true
		w.corp = w.authority("corp", nil)
		w.secrets[names.IntermediateSecret] = &issued{authority: w.authority("strange", &w.corp), root: w.corp.cert, issuer: made(names.RootSecret)}
		for range 500 {
			w.others()
			w.now = w.now.Add(5 * time.Minute)
			if w.verifiable() != nil {
				return
			}
		}
	}
	t.Error("nobody noticed a root that is not trusted")
}

// TestARootThatIsChangedBehindOurBack: cert-manager renews the intermediate below another root than
// the one that is trusted; replicas wait until it is.
func TestARootThatIsChangedBehindOurBack(t *testing.T) {
	for seed := range uint64(4) {
		w := newWorld(t, seed)
		w.install()
		w.name(true)
		w.settle("to an issuer", func() bool { return w.alone("corp", nil) })
		old := w.root()
		w.corp = w.authority("corp", nil)
		delete(w.secrets, names.IntermediateSecret)
		w.issue(names.IntermediateSecret)
		if w.root().Equal(old) {
			t.Fatal("the issuer has no other root")
		}
		// Everybody takes the bundle long before the intermediate is old enough to sign.
		for range 40 {
			w.operator(-1)
			for ns := range w.copies {
				w.copyTo(ns)
			}
			for _, r := range w.replicas {
				w.mount(r)
			}
			for _, p := range w.proxies {
				p.at = max(p.at, 0)
				w.accept(p)
			}
		}
		w.now = w.now.Add(16 * time.Hour) // they renew
		w.settle("the old root goes when its last certificate has", func() bool { return w.alone("corp", old) })
	}
}

// TestALostRoot: a root whose Secret was deleted by hand is replaced, and says so meanwhile.
func TestALostRoot(t *testing.T) {
	w := newWorld(t, 1)
	w.install()
	old := w.root()
	delete(w.secrets, names.RootSecret)
	r := Next(w.mesh, w.see(), w.now)
	if r.Health.Good || r.Health.Reason != v1alpha1.ReasonRootLost && r.Health.Reason != v1alpha1.ReasonWaitingForCertManager || r.Health.Authority == nil {
		t.Errorf("%+v", r.Health)
	}
	w.settle("another root", func() bool { return w.alone(names.SecondRootSecret, old) })
	if c := w.mesh.Status.Certificates; c.Trigger != v1alpha1.TriggerRootLost {
		t.Errorf("trigger %s", c.Trigger)
	}
	if r := Next(w.mesh, w.see(), w.now); !r.Health.Good {
		t.Errorf("%+v", r.Health)
	}
}

// TestARootNearItsEnd: with a fifth of its life left it is replaced, without being asked for.
func TestARootNearItsEnd(t *testing.T) {
	w := newWorld(t, 2)
	w.install()
	old := w.root()
	life := old.NotAfter.Sub(old.NotBefore)
	w.now = old.NotAfter.Add(-life/expiring - time.Hour)
	w.operator(-1)
	if w.mesh.Status.Certificates != nil {
		t.Fatal("too early")
	}
	w.now = w.now.Add(2 * time.Hour)
	for _, p := range w.proxies {
		p.notBefore = w.now // they have renewed all the time
	}
	w.settle("replaced", func() bool { return w.alone(names.SecondRootSecret, old) })
	if c := w.mesh.Status.Certificates; c.Trigger != v1alpha1.TriggerExpiring {
		t.Errorf("trigger %s", c.Trigger)
	}
}

// TestAnIssuerThatTurnsAway: before and after the point where it signs in earnest, what works goes on.
func TestAnIssuerThatTurnsAway(t *testing.T) {
	for name, when := range map[string]v1alpha1.RotationPhase{"on trial": v1alpha1.RotationPreparing, "in earnest": v1alpha1.RotationDistributing} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 3)
			w.install()
			old := w.root()
			w.name(true)
			w.operator(-1)
			if when == v1alpha1.RotationDistributing {
				w.settle("trial", func() bool { return phase(w.mesh) == when })
			}
			w.broken["corp"] = true
			for range 3000 {
				w.others()
				w.operator(-1)
				w.now = w.now.Add(time.Second)
				if err := w.verifiable(); err != nil {
					t.Fatal(err)
				}
			}
			r := Next(w.mesh, w.see(), w.now)
			if r.Health.Good || r.Health.Reason != v1alpha1.ReasonIssuingFailed || !strings.Contains(r.Health.Message, "turned away") {
				t.Errorf("%+v", r.Health.Verdict)
			}
			if r.Health.Authority == nil || !w.root().Equal(old) {
				t.Error("the old intermediate was given up")
			}
			w.name(false)
			w.settle("called off", func() bool { return w.alone(names.RootSecret, nil) && w.root().Equal(old) })
		})
	}
}

// TestPodsThatAreNotConnected are named and waited for, until no certificate of theirs can be good any more.
func TestPodsThatAreNotConnected(t *testing.T) {
	w := newWorld(t, 4)
	w.install()
	w.proxies[0].at = -1
	w.rotate("1")
	round := func() {
		w.operator(-1)
		for _, n := range []string{names.SecondRootSecret, names.IntermediateSecret, names.NextIntermediateSecret} {
			w.issue(n)
		}
		for ns := range w.copies {
			w.copyTo(ns)
		}
		for _, r := range w.replicas {
			w.mount(r)
		}
		for _, p := range w.proxies[1:] {
			w.accept(p)
		}
		w.now = w.now.Add(time.Minute)
	}
	for range 60 {
		round()
	}
	if c := w.mesh.Status.Certificates; c.Phase != v1alpha1.RotationDistributing || !strings.Contains(c.Message, "a/p0") || c.Done != 3 || c.Proxies != 4 {
		t.Fatalf("%+v", c)
	}
	for range 24 * 60 {
		round()
	}
	if c := w.mesh.Status.Certificates; c.Phase == v1alpha1.RotationDistributing {
		t.Errorf("still waited for: %+v", c)
	}
}

// silent runs rotations in which p0 is connected, and does not do its part.
func (w *world) silent(rounds int, does func(p *proxy)) {
	for range rounds {
		w.operator(-1)
		for _, n := range []string{names.SecondRootSecret, names.IntermediateSecret, names.NextIntermediateSecret} {
			w.issue(n)
		}
		for ns := range w.copies {
			w.copyTo(ns)
		}
		for _, r := range w.replicas {
			w.mount(r)
		}
		for _, p := range w.proxies[1:] {
			w.accept(p)
			if w.due(p) {
				w.renew(p)
			}
		}
		does(w.proxies[0])
		w.now = w.now.Add(time.Minute)
	}
}

// TestASilentProxy: a proxy that is connected and never acknowledges, or never renews, is named with the time
// until which it is waited for, and does not keep the old root longer than that in each phase.
func TestASilentProxy(t *testing.T) {
	for name, c := range map[string]struct {
		does    func(*world) func(*proxy)
		stuckIn v1alpha1.RotationPhase
	}{
		"never acknowledges": {func(*world) func(*proxy) { return func(*proxy) {} }, v1alpha1.RotationSigning},
		"never renews": {func(w *world) func(*proxy) {
			return func(p *proxy) { w.accept(p) }
		}, v1alpha1.RotationTurningOver},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 5)
			w.install()
			old := w.root()
			w.rotate("1")
			w.silent(60, c.does(w))
			st := w.mesh.Status.Certificates
			since := st.Since
			if st.Phase == v1alpha1.RotationSigning { // as long as the new intermediate is waited for
				since = w.mesh.Status.Intermediates[len(w.mesh.Status.Intermediates)-1].Since
			}
			until := since.Add(24*time.Hour + 10*time.Minute).UTC().Format(time.RFC3339)
			if st.Phase != c.stuckIn || !strings.Contains(st.Message, "waiting until "+until) || !strings.Contains(st.Message, "a/p0") || !strings.Contains(st.Message, "tulle ca rotate --without a/p0") {
				t.Fatalf("%+v", st)
			}
			w.silent(23*60, c.does(w))
			if w.mesh.Status.Certificates.Phase != c.stuckIn {
				t.Errorf("given up early: %+v", w.mesh.Status.Certificates)
			}
			w.silent(3*25*60, c.does(w))
			if st := w.mesh.Status.Certificates; st.Phase != v1alpha1.RotationCompleted {
				t.Errorf("one proxy holds up the change for ever: %+v", st)
			}
			if slices.Contains(w.ids(w.spread), health.Fingerprint(old)) {
				t.Error("the old root is still spread")
			}
			if said := w.mesh.Status.Certificates.Message; name == "never acknowledges" && !strings.Contains(said, "a/p0") {
				t.Errorf("the end does not name it: %s", said)
			}
		})
	}
}

// TestANamespaceThatNeverAgrees: a namespace whose ConfigMap is kept as it was does not keep the old root for
// longer than a proxy could.
func TestANamespaceThatNeverAgrees(t *testing.T) {
	w := newWorld(t, 7)
	w.install()
	old := w.root()
	stuck := func(p *proxy) {
		w.accept(p)
		if w.due(p) {
			w.renew(p)
		}
		for ns := range w.copies {
			w.copies[ns] = "others"
			break
		}
	}
	w.rotate("1")
	w.silent(60, stuck)
	if st := w.mesh.Status.Certificates; st.Phase != v1alpha1.RotationDistributing || !strings.Contains(st.Message, "being copied, until ") {
		t.Fatalf("%+v", st)
	}
	w.silent(3*25*60, stuck)
	if st := w.mesh.Status.Certificates; st.Phase != v1alpha1.RotationCompleted || slices.Contains(w.ids(w.spread), health.Fingerprint(old)) {
		t.Errorf("one namespace holds up the change for ever: %+v", st)
	}
}

// TestRotateWithout: a pod that the Mesh names, or all of a namespace that it names, is not waited for, whether it is
// connected or not.
func TestRotateWithout(t *testing.T) {
	for name, c := range map[string]struct {
		away    bool
		without string
	}{
		"silent":                 {false, "b/p1, a/p0"},
		"not connected":          {true, "b/p1, a/p0"},
		"a whole namespace":      {false, "a/*"},
		"not connected, a whole": {true, "b/*,a/*"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 6)
			w.install()
			old := w.root()
			if c.away {
				w.proxies[0].at = -1
			}
			w.rotate("1")
			w.silent(60, func(*proxy) {})
			if st := w.mesh.Status.Certificates; st.Phase != v1alpha1.RotationDistributing && st.Phase != v1alpha1.RotationSigning {
				t.Fatalf("%+v", st)
			}
			w.mesh.Annotations[names.AnnotationRotateWithout] = c.without
			w.silent(60, func(*proxy) {})
			if st := w.mesh.Status.Certificates; st.Phase != v1alpha1.RotationCompleted || slices.Contains(w.ids(w.spread), health.Fingerprint(old)) {
				t.Errorf("%+v", st)
			}
			if err := w.verifiable(); err == nil {
				t.Error("p0 was to be left behind")
			}
		})
	}
}

// TestTheRootOfAnIssuerIsNotOurs: a request to change it is answered, once.
func TestTheRootOfAnIssuerIsNotOurs(t *testing.T) {
	w := newWorld(t, 5)
	w.install()
	w.name(true)
	w.settle("to an issuer", func() bool { return w.alone("corp", nil) })
	w.rotate("please")
	w.operator(-1)
	c := *w.mesh.Status.Certificates
	if c.Phase != v1alpha1.RotationRefused || !strings.Contains(c.Message, "ClusterIssuer corp") || c.Active() {
		t.Errorf("%+v", c)
	}
	w.now = w.now.Add(time.Hour)
	w.operator(-1)
	if d := cmp.Diff(c, *w.mesh.Status.Certificates); d != "" {
		t.Error(d)
	}
}

// TestSpell: a reference is read as it was written.
func TestSpell(t *testing.T) {
	for _, name := range []string{names.RootSecret, "a.b"} {
		r := made(name)
		if got := read(spell(r)); got == nil || *got != r {
			t.Errorf("%q read as %v", spell(r), got)
		}
	}
	for _, bad := range []string{"", "x", "x/y", ".a/b", "a./b", "a.b/"} {
		if got := read(bad); got != nil {
			t.Errorf("%q read as %v", bad, got)
		}
	}
}

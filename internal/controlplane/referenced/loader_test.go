// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package referenced

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/source"
)

var errRead = errors.New("the API server does not answer")

// rig drives a loader and keeps what it passes on.
type rig struct {
	t       *testing.T
	l       *loader
	now     time.Time
	gen     int64
	passed  map[string]string // "Gateway a/gw" -> what it says
	batches int
	wanted  map[Ref]bool
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, now: time.Unix(0, 0), passed: map[string]string{}, wanted: map[Ref]bool{}}
	r.l = newLoader(logr.Discard(), func(ref Ref, wanted bool) {
		if delete(r.wanted, ref); wanted {
			r.wanted[ref] = true
		}
	})
	return r
}

func (r *rig) got(events []source.Event) {
	if events != nil {
		r.batches++
	}
	for _, e := range events {
		name := string(e.Kind) + " " + e.Key.String()
		switch o := e.Object.(type) {
		case nil:
			delete(r.passed, name)
		case string:
			r.passed[name] = o
		case *gwapiv1.Gateway:
			r.passed[name] = strings.Join(refsOf(o), " ")
		default:
			r.passed[name] = "here"
		}
	}
}

func refsOf(gw *gwapiv1.Gateway) (out []string) {
	for _, li := range gw.Spec.Listeners {
		for _, ref := range li.TLS.CertificateRefs {
			name := string(ref.Name)
			if ref.Namespace != nil {
				name = string(*ref.Namespace) + "/" + name
			}
			out = append(out, name)
		}
	}
	return out
}

func (r *rig) take(events ...source.Event) { r.t.Helper(); r.got(r.l.take(events, r.now)) }

func (r *rig) after(d time.Duration) {
	r.now = r.now.Add(d)
	r.got(r.l.pass(r.now))
}

// reads returns what is to be read now, and leaves it unanswered.
func (r *rig) reads() (out []string) {
	for {
		ref, ok := r.l.next()
		if !ok {
			return out
		}
		out = append(out, string(ref.Kind)+" "+ref.Key.String())
	}
}

func (r *rig) answer(ref Ref, object any, version string) {
	r.got(r.l.done(found{ref: ref, object: object, version: version}, r.now))
}

func (r *rig) fail(ref Ref) { r.got(r.l.done(found{ref: ref, err: errRead}, r.now)) }

func (r *rig) same(what string, want, got any) {
	r.t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		r.t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func secret(ns, name string) Ref { return Ref{source.TLSSecret, model.Key{Namespace: ns, Name: name}} }

func (r *rig) meta(ns, name string) metav1.ObjectMeta {
	r.gen++
	return metav1.ObjectMeta{Namespace: ns, Name: name, UID: types.UID(ns + name), Generation: r.gen}
}

// gateway has one HTTPS listener with certificates "NAME" or "NAMESPACE/NAME".
func (r *rig) gateway(ns string, certificates ...string) source.Event {
	gw := &gwapiv1.Gateway{ObjectMeta: r.meta(ns, "gw"), Spec: gwapiv1.GatewaySpec{GatewayClassName: "tulle"}}
	li := gwapiv1.Listener{Name: "https", Port: 443, Protocol: gwapiv1.HTTPSProtocolType, TLS: &gwapiv1.ListenerTLSConfig{}}
	for _, c := range certificates {
		ref := gwapiv1.SecretObjectReference{Name: gwapiv1.ObjectName(c)}
		if of, name, ok := strings.Cut(c, "/"); ok {
			n := gwapiv1.Namespace(of)
			ref.Namespace, ref.Name = &n, gwapiv1.ObjectName(name)
		}
		li.TLS.CertificateRefs = append(li.TLS.CertificateRefs, ref)
	}
	gw.Spec.Listeners = []gwapiv1.Listener{li}
	return source.Event{Kind: source.Gateway, Key: model.Key{Namespace: ns, Name: "gw"}, Object: gw}
}

func (r *rig) grant(in, to string) source.Event {
	return source.Event{Kind: source.ReferenceGrant, Key: model.Key{Namespace: in, Name: "g"}, Object: &gwapiv1.ReferenceGrant{
		ObjectMeta: r.meta(in, "g"),
		Spec: gwapiv1.ReferenceGrantSpec{
			From: []gwapiv1.ReferenceGrantFrom{{Group: gwapiv1.GroupName, Kind: "Gateway", Namespace: gwapiv1.Namespace(to)}},
			To:   []gwapiv1.ReferenceGrantTo{{Kind: "Secret"}},
		},
	}}
}

func pod(name string) source.Event {
	return source.Event{Kind: source.Pod, Key: model.Key{Namespace: "a", Name: name}, Object: "a pod"}
}

// TestFirstBatchIsComplete: it comes as one, with everything that it refers to, and with nothing else.
func TestFirstBatchIsComplete(t *testing.T) {
	r := newRig(t)
	r.take(r.gateway("a", "one", "two"), pod("p"))
	r.same("reads", []string{"Secret a/one", "Secret a/two"}, r.reads())
	r.answer(secret("a", "one"), "1", "5")
	r.same("batches before all is read", 0, r.batches)
	r.answer(secret("a", "two"), nil, "")
	r.same("batches", 1, r.batches)
	r.same("passed on", map[string]string{"Gateway a/gw": "one two", "Pod a/p": "a pod", "Secret a/one": "1"}, r.passed)
}

// TestEmptyFirstBatch: an empty cluster is a state like any other.
func TestEmptyFirstBatch(t *testing.T) {
	r := newRig(t)
	r.take()
	r.same("batches", 1, r.batches)
	r.take()
	r.same("batches after a batch of nothing", 1, r.batches)
}

// TestFirstBatchIsNotHeldUp: a read that never ends holds the first batch up for a bounded time.
func TestFirstBatchIsNotHeldUp(t *testing.T) {
	r := newRig(t)
	r.take(r.gateway("a", "slow"), r.gateway("b", "good"))
	r.reads()
	r.answer(secret("b", "good"), "1", "5")
	r.after(patience - time.Second)
	r.same("batches", 0, r.batches)
	r.same("when to look again", r.now.Add(time.Second), r.l.wake())
	r.after(time.Second)
	r.same("passed on", map[string]string{"Gateway a/gw": "slow", "Gateway b/gw": "good", "Secret b/good": "1"}, r.passed)
}

// TestChangedReference: a Gateway whose reference changes is passed on with what it now refers to; what it
// referred to before goes only then, and everything else goes on meanwhile.
func TestChangedReference(t *testing.T) {
	r := newRig(t)
	r.take(r.gateway("a", "old"))
	r.reads()
	r.answer(secret("a", "old"), "1", "5")
	r.take(r.gateway("a", "new"), pod("p"))
	r.same("passed on while the new one is read", map[string]string{"Gateway a/gw": "old", "Secret a/old": "1", "Pod a/p": "a pod"}, r.passed)
	r.same("reads", []string{"Secret a/new"}, r.reads())
	r.answer(secret("a", "new"), "2", "6")
	r.same("passed on then", map[string]string{"Gateway a/gw": "new", "Secret a/new": "2", "Pod a/p": "a pod"}, r.passed)
	r.same("wanted", map[Ref]bool{secret("a", "new"): true}, r.wanted)
}

// TestHoldEnds: a Gateway does not wait for ever for what it refers to, nor a second time.
func TestHoldEnds(t *testing.T) {
	r := newRig(t)
	r.take(r.gateway("a", "old"))
	r.reads()
	r.answer(secret("a", "old"), "1", "5")
	r.take(r.gateway("a", "slow"))
	r.reads()
	r.after(hold)
	r.same("passed on", map[string]string{"Gateway a/gw": "slow"}, r.passed)
	r.take(r.gateway("a", "slow", "old"))
	r.same("wanted again", []string{"Secret a/old"}, r.reads())
	r.answer(secret("a", "old"), "1", "5")
	r.same("passed on", map[string]string{"Gateway a/gw": "slow old", "Secret a/old": "1"}, r.passed)
}

// TestNewerEventReplacesHeld: of an object that is held the last event counts, and its end comes at once.
func TestNewerEventReplacesHeld(t *testing.T) {
	r := newRig(t)
	r.take()
	r.take(r.gateway("a", "one"))
	r.take(r.gateway("a"))
	r.same("passed on", map[string]string{"Gateway a/gw": ""}, r.passed)
	r.take(r.gateway("a", "two"))
	r.take(source.Event{Kind: source.Gateway, Key: model.Key{Namespace: "a", Name: "gw"}})
	r.same("passed on", map[string]string{}, r.passed)
	r.reads()
	r.answer(secret("a", "two"), "1", "5")
	r.after(time.Hour)
	r.same("passed on", map[string]string{}, r.passed)
	r.same("kept", 0, len(r.l.all)+len(r.l.held)+len(r.l.drops)+len(r.l.of)+len(r.wanted))
}

// TestGrants: what is not granted is not read; what a grant allows is read before the grant is passed on.
func TestGrants(t *testing.T) {
	r := newRig(t)
	r.take(r.gateway("a", "vault/cert"))
	r.same("reads without a grant", []string(nil), r.reads())
	r.take(r.grant("vault", "b"))
	r.same("reads with a grant for others", []string(nil), r.reads())
	r.take(r.grant("vault", "a"))
	r.same("reads with a grant", []string{"Secret vault/cert"}, r.reads())
	r.answer(secret("vault", "cert"), "1", "5")
	r.same("passed on", map[string]string{"Gateway a/gw": "vault/cert", "Secret vault/cert": "1", "ReferenceGrant vault/g": "here"}, r.passed)
	r.take(source.Event{Kind: source.ReferenceGrant, Key: model.Key{Namespace: "vault", Name: "g"}})
	r.same("kept without the grant", map[Ref]bool{}, r.wanted)
	r.same("passed on", map[string]string{"Gateway a/gw": "vault/cert"}, r.passed)
}

// TestClasses: the Secrets of Gateways of other classes are not read.
func TestClasses(t *testing.T) {
	r := newRig(t)
	e := r.gateway("a", "one")
	e.Object.(*gwapiv1.Gateway).Spec.GatewayClassName = "other"
	r.take(e)
	r.same("reads", []string(nil), r.reads())
	class := func(controller string) source.Event {
		return source.Event{Kind: source.GatewayClass, Key: model.Key{Name: "other"}, Object: &gwapiv1.GatewayClass{
			ObjectMeta: r.meta("", "other"), Spec: gwapiv1.GatewayClassSpec{ControllerName: gwapiv1.GatewayController(controller)},
		}}
	}
	r.take(class("example.com/x"))
	r.same("reads", []string(nil), r.reads())
	r.take(class("tulle.dev/mesh-controller"))
	r.same("reads", []string{"Secret a/one"}, r.reads())
}

// TestFailedReads: what was read last stays, and is read again later and later; a Secret that is deleted goes.
func TestFailedReads(t *testing.T) {
	r := newRig(t)
	r.take(r.gateway("a", "one"))
	r.reads()
	r.answer(secret("a", "one"), "1", "5")
	r.l.changed(secret("a", "one"), "6")
	var waited []time.Duration
	for range 9 {
		r.same("reads", []string{"Secret a/one"}, r.reads())
		r.fail(secret("a", "one"))
		d := r.l.wake().Sub(r.now)
		waited = append(waited, d)
		r.after(d - time.Millisecond)
		r.same("reads too early", []string(nil), r.reads())
		r.after(time.Millisecond)
	}
	r.same("first and last wait", []time.Duration{firstRetry, lastRetry}, []time.Duration{waited[0], waited[8]})
	r.same("passed on", map[string]string{"Gateway a/gw": "one", "Secret a/one": "1"}, r.passed)
	r.reads()
	r.answer(secret("a", "one"), "2", "6")
	r.same("passed on", "2", r.passed["Secret a/one"])
	r.l.changed(secret("a", "one"), "")
	r.reads()
	r.answer(secret("a", "one"), nil, "")
	r.same("passed on", map[string]string{"Gateway a/gw": "one"}, r.passed)
}

// TestRefusedRead: that a Secret may not be read is passed on where nothing of it is known, and only then.
func TestRefusedRead(t *testing.T) {
	r := newRig(t)
	r.take()
	r.take(r.gateway("a", "one"))
	r.reads()
	refuse := func() {
		r.got(r.l.done(found{ref: secret("a", "one"), object: "refused", err: errRead}, r.now))
	}
	refuse()
	r.same("passed on while it is waited for", map[string]string{}, r.passed)
	r.after(hold)
	r.same("passed on", map[string]string{"Gateway a/gw": "one", "Secret a/one": "refused"}, r.passed)
	r.reads()
	r.answer(secret("a", "one"), "1", "5")
	r.l.changed(secret("a", "one"), "6")
	r.reads()
	refuse()
	r.same("passed on", "1", r.passed["Secret a/one"])
}

// TestChangeWhileReading: a change that comes while an object is read has it read again.
func TestChangeWhileReading(t *testing.T) {
	r := newRig(t)
	r.take(r.gateway("a", "one"))
	r.reads()
	r.l.changed(secret("a", "one"), "6")
	r.same("reads", []string(nil), r.reads())
	r.answer(secret("a", "one"), "1", "5")
	r.same("reads", []string{"Secret a/one"}, r.reads())
	r.answer(secret("a", "one"), "2", "6")
	r.l.changed(secret("a", "one"), "6")
	r.same("reads of a known version", []string(nil), r.reads())
	r.l.changed(secret("a", "other"), "6")
	r.same("reads of what nothing refers to", []string(nil), r.reads())
}

// TestUnwatched: a kind that may not be watched is read again from time to time.
func TestUnwatched(t *testing.T) {
	r := newRig(t)
	r.now = r.now.Add(time.Hour)
	r.take(r.gateway("a", "one"))
	r.reads()
	r.answer(secret("a", "one"), "1", "5")
	r.l.unwatched(source.CAConfigMap, r.now)
	r.same("reads for another kind", []string(nil), r.reads())
	r.l.unwatched(source.TLSSecret, r.now)
	r.same("reads", []string{"Secret a/one"}, r.reads())
	r.answer(secret("a", "one"), "1", "5")
	r.after(polling / 2)
	r.l.unwatched(source.TLSSecret, r.now)
	r.same("reads too early", []string(nil), r.reads())
	r.after(polling / 2)
	r.l.unwatched(source.TLSSecret, r.now)
	r.same("reads", []string{"Secret a/one"}, r.reads())
}

// TestOtherType: a Secret of a type that is not watched is read again from time to time, until it is another one.
func TestOtherType(t *testing.T) {
	r := newRig(t)
	r.take(r.gateway("a", "one"))
	r.reads()
	for range 3 {
		r.answer(secret("a", "one"), source.TLS{Problem: "its type is wrong", OtherType: true}, "5")
		r.same("passed on", "here", r.passed["Secret a/one"])
		r.after(polling - time.Millisecond)
		r.same("reads too early", []string(nil), r.reads())
		r.after(time.Millisecond)
		r.same("reads", []string{"Secret a/one"}, r.reads())
	}
	r.answer(secret("a", "one"), nil, "")
	r.same("passed on", map[string]string{"Gateway a/gw": "one"}, r.passed)
	r.after(2 * polling)
	r.same("reads of one that does not exist", []string(nil), r.reads())
	r.l.changed(secret("a", "one"), "6")
	r.same("reads", []string{"Secret a/one"}, r.reads())
	r.answer(secret("a", "one"), source.TLS{}, "6")
	r.after(2 * polling)
	r.same("reads of one that is watched", []string(nil), r.reads())
}

// TestTurns: many references of one namespace do not keep another's waiting.
func TestTurns(t *testing.T) {
	r := newRig(t)
	r.take()
	var many []string
	for i := range 1000 {
		many = append(many, fmt.Sprintf("c%d", i))
	}
	r.take(r.gateway("a", many...))
	r.take(r.gateway("b", "one"))
	if i := slices.Index(r.reads(), "Secret b/one"); i < 0 || i > 1 {
		t.Errorf("the Secret of the other namespace is read as number %d", i)
	}
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package rotation

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/health"
	"tulle.dev/tulle/internal/names"
)

func start() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

// authority is a certificate that signs, with its key.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func text(list ...*x509.Certificate) []byte {
	var out []byte
	for _, c := range list {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}

// issued is a Secret that cert-manager wrote.
type issued struct {
	authority
	root   *x509.Certificate // what it hangs from; itself for a root
	issuer cmmeta.IssuerReference
}

// proxy is a connected proxy, or one that is not connected for a while.
type proxy struct {
	name      string
	at        int    // the replica that it is connected to; -1: to none
	bundle    string // what its Envoy trusts: roots, or intermediates
	root      *x509.Certificate
	signer    *x509.Certificate
	notBefore time.Time
	asked     int64 // the RenewIssuedBefore that it has followed
}

// world is a cluster in which everybody moves on his own, one move at a time.
type world struct {
	t        *testing.T
	rnd      *mathrand.Rand
	now      time.Time
	mesh     *v1alpha1.Mesh
	certs    map[string]cmmeta.IssuerReference // Certificates: name -> issuer
	secrets  map[string]*issued
	broken   map[string]bool // issuers that turn requests away
	corp     authority
	spread   string            // the original ConfigMap
	anchors  Anchors           // the same
	copies   map[string]string // of namespaces
	listed   set               // intermediates that clients have been told to trust at any time
	copied   map[string]string // their intermediates
	replicas []*replica
	proxies  []*proxy
	skew     time.Duration
	read     map[string][]string // see ids
	// early breaks the rule that a replica waits for its root to be trusted.
	early bool
	// former: the replicas are of a release that knows only roots.
	former bool
	// renewing: cert-manager renews the signing intermediate, and replicas restart, at random.
	renewing bool
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{
		t: t, rnd: mathrand.New(mathrand.NewPCG(seed, 7)), now: start(), mesh: &v1alpha1.Mesh{},
		certs: map[string]cmmeta.IssuerReference{}, secrets: map[string]*issued{}, broken: map[string]bool{},
		listed: set{}, copies: map[string]string{"a": "", "b": ""}, copied: map[string]string{}, read: map[string][]string{}, skew: 5 * time.Minute,
	}
	w.mesh.Spec.TrustDomain = "cluster.local"
	w.corp = w.authority("corp", nil)
	return w
}

func (w *world) authority(name string, by *authority) authority {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<60))
	c := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name, SerialNumber: serial.String()}, NotBefore: w.now, NotAfter: w.now.AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	parent, signer := c, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		w.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		w.t.Fatal(err)
	}
	return authority{cert, key}
}

// see is what the operator would see.
func (w *world) see() Seen {
	s := Seen{Spread: w.spread, Anchors: w.anchors, Roots: map[string]*cmv1.Certificate{}, RootTLS: map[string][]byte{}}
	if ref := w.mesh.Spec.Certificates.IssuerRef; ref != nil {
		s.Facts.Issuer = &health.IssuerFacts{Found: true}
	}
	s.Facts.Intermediate, s.Next = w.certificate(names.IntermediateSecret), w.certificate(names.NextIntermediateSecret)
	if x := w.secrets[names.IntermediateSecret]; x != nil {
		s.Facts.TLSCrt, s.Facts.CACrt, s.IssuedBy = text(x.cert), text(x.root), &x.issuer
	}
	if x := w.secrets[names.NextIntermediateSecret]; x != nil {
		s.NextTLS, s.NextCA = text(x.cert), text(x.root)
	}
	for _, name := range []string{names.RootSecret, names.SecondRootSecret} {
		if c := w.certificate(name); c != nil {
			s.Roots[name] = c
		}
		if x := w.secrets[name]; x != nil {
			s.RootTLS[name] = text(x.cert)
		}
	}
	if !Asks(w.mesh) {
		return s
	}
	for ns, have := range w.copies {
		if have != w.spread || w.copied[ns] != w.anchors.Intermediates {
			s.Lagging = append(s.Lagging, ns)
		}
	}
	slices.Sort(s.Lagging)
	for i, r := range w.replicas {
		s.Replicas = append(s.Replicas, Replica{Pod: fmt.Sprint("replica-", i), Report: w.report(i, r)})
	}
	for _, p := range w.proxies {
		if p.at < 0 {
			s.Missing = append(s.Missing, "a/"+p.name)
		}
	}
	return s
}

// ids are the roots of a bundle; a bundle is read once.
func (w *world) ids(bundle string) []string {
	out, ok := w.read[bundle]
	if !ok {
		list, _ := health.ParsePEM([]byte(bundle))
		for _, c := range list {
			out = append(out, health.Fingerprint(c))
		}
		w.read[bundle] = out
	}
	return out
}

func (w *world) certificate(name string) *cmv1.Certificate {
	ref, ok := w.certs[name]
	if !ok {
		return nil
	}
	c := &cmv1.Certificate{}
	c.Spec.IssuerRef = ref
	c.Generation = 2
	ready := cmv1.CertificateCondition{Type: cmv1.CertificateConditionReady, Status: cmmeta.ConditionTrue, ObservedGeneration: 1}
	if x := w.secrets[name]; x != nil && (x.issuer == ref || x.issuer == (cmmeta.IssuerReference{})) {
		ready.ObservedGeneration = 2
	}
	c.Status.Conditions = []cmv1.CertificateCondition{ready}
	if w.broken[ref.Name] {
		attempts := 1
		c.Status.FailedIssuanceAttempts = &attempts
		c.Status.Conditions = append(c.Status.Conditions, cmv1.CertificateCondition{
			Type: cmv1.CertificateConditionIssuing, Status: cmmeta.ConditionFalse, Message: "the request was turned away",
		})
	}
	return c
}

// operator does a round: it decides, and carries out up to the step number stop; -1: all of it.
func (w *world) operator(stop int) {
	res := Next(w.mesh, w.see(), w.now)
	n := 0
	do := func(f func()) {
		if stop < 0 || n < stop {
			f()
		}
		n++
	}
	for _, name := range res.Roots {
		do(func() { w.certs[name] = cmmeta.IssuerReference{} })
	}
	if !res.Health.Hopeless || res.Health.Authority != nil {
		do(func() { w.certs[names.IntermediateSecret] = res.Issuer })
	}
	if res.Trial != nil {
		do(func() { w.certs[names.NextIntermediateSecret] = *res.Trial })
	}
	if res.Bundle != "" {
		do(func() {
			w.spread, w.anchors = res.Bundle, res.Anchors
			for _, id := range w.ids(w.anchors.Intermediates) {
				w.listed[id] = true
			}
		})
	}
	if res.Health.Good {
		for name := range w.certs {
			keep := name == names.IntermediateSecret || slices.Contains(res.Roots, name) || name == names.NextIntermediateSecret && res.Trial != nil
			if !keep {
				do(func() { delete(w.certs, name) })
			}
		}
		for _, name := range res.Secrets {
			do(func() { delete(w.secrets, name) })
		}
	}
	do(func() {
		s := &w.mesh.Status
		s.Certificates, s.Roots = res.Progress, res.Status
		s.Intermediates, s.IntermediatesRequiredSince = res.Intermediates, res.RequiredSince
	})
}

// issue writes a Secret as cert-manager would; false: there is nothing to do or it can't.
func (w *world) issue(name string) bool {
	ref, asked := w.certs[name]
	have := w.secrets[name]
	if !asked || w.broken[ref.Name] {
		return false
	}
	if ref == (cmmeta.IssuerReference{}) { // a self-made root
		if have != nil {
			return false
		}
		a := w.authority(name, nil)
		w.secrets[name] = &issued{authority: a, root: a.cert}
		return true
	}
	if have != nil && have.issuer == ref {
		return false
	}
	by := w.corp
	if ref.Name != "corp" {
		root := w.secrets[ref.Name]
		if root == nil {
			return false
		}
		by = root.authority
	}
	w.secrets[name] = &issued{authority: w.authority(name, &by), root: by.cert, issuer: ref}
	return true
}

// copyTo brings a namespace's ConfigMap up to date.
func (w *world) copyTo(ns string) { w.copies[ns], w.copied[ns] = w.spread, w.anchors.Intermediates }

// accept is a response and its ACK.
func (w *world) accept(p *proxy) {
	if p.at >= 0 {
		p.bundle = w.replicas[p.at].trusted()
	}
}

// renew gives a proxy a new certificate.
func (w *world) renew(p *proxy) {
	if p.at < 0 || w.replicas[p.at].held {
		return
	}
	by := w.replicas[p.at].signs
	p.root, p.signer, p.notBefore = by.root, by.cert, w.now
	if c := w.mesh.Status.Certificates; c != nil && c.RenewIssuedBefore != nil {
		p.asked = c.RenewIssuedBefore.Unix()
	}
}

// due tells whether a proxy renews now, by itself or because it is asked.
func (w *world) due(p *proxy) bool {
	if w.now.Sub(p.notBefore) > 16*time.Hour {
		return true
	}
	c := w.mesh.Status.Certificates
	return c != nil && c.RenewIssuedBefore != nil && p.asked < c.RenewIssuedBefore.Unix() && p.notBefore.Before(c.RenewIssuedBefore.Time)
}

// others makes one random move of somebody else.
func (w *world) others() {
	if w.renewing && w.rnd.IntN(150) == 0 {
		switch w.rnd.IntN(2) {
		case 0:
			delete(w.secrets, names.IntermediateSecret)
			w.issue(names.IntermediateSecret)
		case 1:
			w.restart(w.replicas[w.rnd.IntN(len(w.replicas))])
		}
		return
	}
	switch w.rnd.IntN(6) {
	case 0:
		for _, name := range []string{names.RootSecret, names.SecondRootSecret, names.IntermediateSecret, names.NextIntermediateSecret} {
			if w.issue(name) {
				return
			}
		}
	case 1:
		for ns := range w.copies {
			w.copyTo(ns)
			return
		}
	case 2:
		if len(w.replicas) > 0 {
			w.mount(w.replicas[w.rnd.IntN(len(w.replicas))])
		}
	case 3: // a response and its ACK
		if p := w.any(); p != nil {
			w.accept(p)
		}
	case 4:
		if p := w.any(); p != nil && w.due(p) {
			w.renew(p)
		}
	case 5: // a stream ends, or begins
		p := w.any()
		switch {
		case p == nil:
		case p.at < 0 || w.rnd.IntN(4) > 0:
			p.at = w.rnd.IntN(len(w.replicas))
		default:
			p.at = -1
		}
	}
}

func (w *world) any() *proxy {
	if len(w.proxies) == 0 {
		return nil
	}
	return w.proxies[w.rnd.IntN(len(w.proxies))]
}

// verifiable is the invariant: whatever certificate a proxy has, every other one trusts its root or, if it
// requires intermediates, its signer.
func (w *world) verifiable() error {
	for _, p := range w.proxies {
		root, signer := health.Fingerprint(p.root), health.Fingerprint(p.signer)
		for _, q := range w.proxies {
			if trusted := w.ids(q.bundle); !slices.Contains(trusted, root) && !slices.Contains(trusted, signer) {
				return fmt.Errorf("%s has a certificate of %s below %s, which %s does not trust (phase %v)", p.name, p.signer.Subject, p.root.Subject, q.name, phase(w.mesh))
			}
		}
	}
	for i, r := range w.replicas {
		if list := w.anchors.Intermediates; list != "" && !w.former && !w.early && w.listed[health.Fingerprint(r.serves.cert)] && !slices.Contains(w.ids(list), health.Fingerprint(r.serves.cert)) {
			return fmt.Errorf("replica %d serves with a certificate of %s, which clients do not trust (phase %v)", i, r.serves.cert.Subject, phase(w.mesh))
		}
	}
	return nil
}

func phase(m *v1alpha1.Mesh) v1alpha1.RotationPhase {
	if m.Status.Certificates == nil {
		return ""
	}
	return m.Status.Certificates.Phase
}

// install gets a mesh with two replicas and some proxies going.
func (w *world) install() {
	for range 20 {
		w.operator(-1)
		w.issue(names.RootSecret)
		w.issue(names.IntermediateSecret)
	}
	for range 2 {
		r := &replica{}
		w.mount(r)
		w.replicas = append(w.replicas, r)
	}
	for i := range 4 {
		p := &proxy{name: fmt.Sprint("p", i), at: i % 2}
		w.accept(p)
		w.renew(p)
		w.proxies = append(w.proxies, p)
	}
	for ns := range w.copies {
		w.copyTo(ns)
	}
	w.now = w.now.Add(time.Hour)
	w.operator(-1)
	if w.mesh.Status.Certificates != nil || len(w.mesh.Status.Roots) != 1 || strings.Count(w.spread, "BEGIN") != 1 {
		w.t.Fatalf("not installed: %+v", w.mesh.Status)
	}
}

// settle moves at random, with crashes, until the condition holds.
func (w *world) settle(what string, done func() bool) {
	w.t.Helper()
	for range 6000 {
		if done() {
			return
		}
		if w.rnd.IntN(8) == 0 {
			stop := -1
			if w.rnd.IntN(2) == 0 {
				stop = w.rnd.IntN(10)
			}
			w.operator(stop)
		} else {
			w.others()
		}
		w.now = w.now.Add(time.Duration(w.rnd.IntN(8)) * time.Second)
		if err := w.verifiable(); err != nil {
			w.t.Fatalf("%s: %v", what, err)
		}
	}
	w.t.Fatalf("%s: not after all these moves: %+v", what, w.mesh.Status.Certificates)
}

func (w *world) rotate(value string) {
	w.mesh.ObjectMeta = metav1.ObjectMeta{Annotations: map[string]string{names.AnnotationRotateRoot: value}}
}

// name uses the issuer corp, or, if not, a self-made root.
func (w *world) name(corp bool) {
	w.mesh.Spec.Certificates.IssuerRef = nil
	if corp {
		w.mesh.Spec.Certificates.IssuerRef = &v1alpha1.IssuerRef{Name: "corp", Kind: "ClusterIssuer", Group: certManager}
	}
}

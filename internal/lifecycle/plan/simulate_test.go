// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package plan

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/release"
	"tulle.dev/tulle/internal/lifecycle/render"
	"tulle.dev/tulle/internal/lifecycle/upgrade"
	"tulle.dev/tulle/internal/names"
)

const ns = "tulle-system"

// start is when the simulated cluster begins.
func start() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

func catalog() release.Catalog {
	return release.Catalog{
		{Version: "0.2.0", Image: "tulle:0.2.0", ProxyImage: "tulle-proxy:0.2.0"},
		{Version: "0.3.0", Image: "tulle:0.3.0", ProxyImage: "tulle-proxy:0.3.0"},
	}
}

func mesh() *v1alpha1.Mesh {
	m := &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "tulle", UID: "u", Generation: 1}}
	m.Spec.Version, m.Spec.TrustDomain = "0.2.0", "cluster.local"
	return m
}

// cluster is a simulated cluster: objects by kind, namespace and name, and the others who work on
// them (cert-manager, the Deployment controller), one move at a time.
type cluster struct {
	t         *testing.T
	objects   map[string]render.Object
	uids      map[string]string
	secrets   map[string][2][]byte // name: certificate, authority
	ready     map[string]int32     // Deployment name: ready replicas
	certMan   bool
	gateway   bool
	rootKey   *ecdsa.PrivateKey
	rootCert  *x509.Certificate
	mesh      *v1alpha1.Mesh
	usage     Usage
	now       time.Time
	nextUID   int
	finalized bool
}

func newCluster(t *testing.T) *cluster {
	return &cluster{
		t: t, objects: map[string]render.Object{}, uids: map[string]string{}, secrets: map[string][2][]byte{},
		ready: map[string]int32{}, mesh: mesh(), now: start(),
	}
}

func key(r Ref) string { return r.Kind + " " + r.Namespace + "/" + r.Name }

func (c *cluster) has(kind, namespace, name string) bool {
	_, ok := c.objects[kind+" "+namespace+"/"+name]
	return ok
}

// observe is what controllers/mesh would see.
func (c *cluster) observe() Observed {
	o := Observed{
		Namespace: ns, CertManager: c.certMan, GatewayAPI: c.gateway, XMeshKind: c.gateway,
		XMesh: c.has("XMesh", "", names.XMesh), XMeshOurs: true,
		Deployments: map[string]*appsv1.Deployment{}, Usage: c.usage,
		Rollout: Rollout{Complete: true, Difference: &upgrade.Difference{}},
	}
	if c.certMan {
		o.Rotation.Roots = map[string]*cmv1.Certificate{}
		if root := c.certificate(names.RootSecret); root != nil {
			o.Rotation.Roots[names.RootSecret] = root
		}
		o.Certificates.Intermediate = c.certificate(names.IntermediateSecret)
	}
	if s, ok := c.secrets[names.RootSecret]; ok {
		o.Rotation.RootTLS = map[string][]byte{names.RootSecret: s[0]}
	}
	if s, ok := c.secrets[names.IntermediateSecret]; ok {
		o.Certificates.TLSCrt, o.Certificates.CACrt = s[0], s[1]
	}
	for k, obj := range c.objects {
		r := refOf(obj)
		r.UID = types.UID(c.uids[k])
		if obj.GetLabels()[names.LabelMesh] == c.mesh.Name {
			o.Owned = append(o.Owned, r)
		}
		switch obj.GetKind() {
		case "ConfigMap":
			data := obj.Object["data"].(map[string]any)
			o.SpreadRoots = data[names.TrustKey].(string)
			o.Rotation.Anchors.Intermediates, _ = data[names.IntermediatesKey].(string)
			o.Rotation.Anchors.Signers, _ = data[names.SignersKey].(string)
		case "Service":
			if sel := obj.Object["spec"].(map[string]any)["selector"].(map[string]any); obj.GetName() == names.ControlPlaneService {
				o.ServingRevision = sel[names.LabelRevision].(string)
			}
		case "Deployment":
			ready := c.ready[obj.GetName()]
			d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: obj.GetName(), Namespace: ns}}
			d.Spec.Replicas = new(int32)
			*d.Spec.Replicas = 2
			d.Status.ReadyReplicas, d.Status.UpdatedReplicas, d.Status.UnavailableReplicas = ready, 2, 2-ready
			o.Deployments[obj.GetLabels()[names.LabelRevision]] = d
		}
	}
	for name := range c.secrets {
		o.Leftovers = append(o.Leftovers, Ref{GroupVersionKind: v1("Secret"), NamespacedName: types.NamespacedName{Namespace: ns, Name: name}})
	}
	return o
}

func (c *cluster) certificate(name string) *cmv1.Certificate {
	if !c.has("Certificate", ns, name) {
		return nil
	}
	cert := &cmv1.Certificate{}
	cert.Spec.IssuerRef = render.IssuerOf(c.mesh) // this cluster's root never changes; see package rotation
	if _, ok := c.secrets[name]; ok {
		cert.Status.Conditions = []cmv1.CertificateCondition{{Type: cmv1.CertificateConditionReady, Status: cmmeta.ConditionTrue}}
	}
	return cert
}

// others are the moves that others may make, each when it can.
func (c *cluster) others() []func() {
	var moves []func()
	if c.certMan && c.has("Certificate", ns, names.RootSecret) && c.has("Issuer", ns, render.SelfSignedIssuer) && c.secrets[names.RootSecret][0] == nil {
		moves = append(moves, func() { c.issue(names.RootSecret) })
	}
	if c.certMan && c.has("Certificate", ns, names.IntermediateSecret) && c.has("Issuer", ns, names.RootSecret) &&
		c.secrets[names.RootSecret][0] != nil && c.secrets[names.IntermediateSecret][0] == nil {
		moves = append(moves, func() { c.issue(names.IntermediateSecret) })
	}
	for _, o := range c.objects {
		name := o.GetName()
		// A pod can't start without the Secret and the ConfigMap it mounts.
		if o.GetKind() == "Deployment" && c.ready[name] < 2 && c.secrets[names.IntermediateSecret][0] != nil && c.has("ConfigMap", ns, names.TrustConfigMap) {
			moves = append(moves, func() { c.ready[name]++ })
		}
	}
	return moves
}

// issue writes a Secret as cert-manager would.
func (c *cluster) issue(name string) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		c.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(len(c.secrets) + 1)), Subject: pkix.Name{CommonName: name},
		NotBefore: c.now.Add(-time.Hour), NotAfter: c.now.Add(24 * 365 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	parent, signer := template, k
	if name == names.IntermediateSecret {
		parent, signer = c.rootCert, c.rootKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &k.PublicKey, signer)
	if err != nil {
		c.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		c.t.Fatal(err)
	}
	if name == names.RootSecret {
		c.rootKey, c.rootCert = k, cert
	}
	text := func(x *x509.Certificate) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: x.Raw})
	}
	c.secrets[name] = [2][]byte{text(cert), text(c.rootCert)}
}

// do carries a plan out, up to (not including) the object number stop; -1: all of it.
func (c *cluster) do(p Plan, stop int) {
	n := 0
	crashed := func() bool { n++; return stop >= 0 && n > stop }
	if p.Finalize && !c.finalized {
		if crashed() {
			return
		}
		c.finalized = true
		c.mesh.Finalizers = []string{names.Finalizer}
	}
	for _, s := range p.Steps {
		for _, o := range append(s.Apply, s.Create...) {
			if crashed() {
				return
			}
			k := key(refOf(o))
			if c.uids[k] == "" {
				c.nextUID++
				c.uids[k] = string(rune('a' + c.nextUID))
			}
			c.invariants(s.Name, "apply", o.GetKind())
			c.objects[k] = o
		}
		for _, r := range s.Delete {
			if crashed() {
				return
			}
			c.invariants(s.Name, "delete", r.Kind)
			delete(c.objects, key(r))
			delete(c.uids, key(r))
			if r.Kind == "Secret" {
				delete(c.secrets, r.Name)
			}
			if r.Kind == "Deployment" {
				delete(c.ready, r.Name)
			}
		}
	}
	if crashed() {
		return
	}
	c.mesh.Status = p.Status
	if p.Done {
		c.finalized = false
		c.mesh.Finalizers = nil
	}
}

// invariants hold at every object that is brought about or taken away.
func (c *cluster) invariants(step, verb, kind string) {
	c.t.Helper()
	webhook := false
	for _, o := range c.objects {
		webhook = webhook || o.GetKind() == "MutatingWebhookConfiguration"
	}
	switch {
	case verb == "apply" && kind == "MutatingWebhookConfiguration" && !c.has("Service", ns, names.ControlPlaneService):
		c.t.Errorf("step %q makes a webhook that leads nowhere", step)
	case verb == "apply" && kind == "Deployment" && (!c.has("ConfigMap", ns, names.TrustConfigMap) || c.secrets[names.IntermediateSecret][0] == nil):
		c.t.Errorf("step %q makes a control plane without roots or without anything to sign with", step)
	case verb == "delete" && kind == "Service" && webhook:
		c.t.Errorf("step %q takes the Service away from under a webhook", step)
	case verb == "delete" && kind == "Secret" && c.has("Certificate", ns, names.IntermediateSecret):
		c.t.Errorf("step %q deletes a Secret that cert-manager would write again", step)
	}
}

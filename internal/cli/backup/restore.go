// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package backup

import (
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/health"
	"tulle.dev/tulle/internal/lifecycle/release"
	"tulle.dev/tulle/internal/names"
)

// Target is what is in the cluster that a backup is to be put into. A name is missing where the
// object is.
type Target struct {
	// System is the namespace of the operator and the control plane.
	System string
	// Namespace, MeshKind, CertManager, Operator and XMeshKind tell what is installed.
	Namespace, MeshKind, CertManager, Operator, XMeshKind bool
	// Mesh is the active one; nil: none.
	Mesh       *v1alpha1.Mesh
	Secrets    map[string]*corev1.Secret
	ConfigMaps map[string]*corev1.ConfigMap
	XMesh      bool
}

// Options of a restore.
type Options struct {
	// WithoutKeys gives up the identities: the mesh gets a new root.
	WithoutKeys bool
	// Version is the release to run; empty: that of the backup.
	Version string
	// Known are the releases that there are, but for those that the backup tells of.
	Known release.Catalog
}

// Step is what becomes of one object.
type Step struct {
	Object unstructured.Unstructured
	// Create it; or else leave what is there, and Why says why.
	Create bool
	Why    string
}

// Plan is what to do, in this order.
type Plan struct {
	Mesh  string
	Steps []Step
	// Roots are the fingerprints of which one is to be in use afterwards; empty: any.
	Roots []string
	// Notes are for the user: what the backup can't bring back.
	Notes []string
}

// Restore decides how a backup is put into a cluster, or why it can't be. Nothing that is there is
// ever changed, so that it can be done again after it was broken off.
func Restore(f File, t Target, o Options, now time.Time) (Plan, error) {
	if o.WithoutKeys {
		f = f.withoutKeys()
	}
	c, err := f.read(now)
	if err != nil {
		return Plan{}, err
	}
	if o.Version != "" {
		c.mesh.Spec.Version = o.Version
	}
	for _, check := range []func(File, contents, Target, Options) error{installed, runnable, identities, sameMesh, sameKeys} {
		if err := check(f, c, t, o); err != nil {
			return Plan{}, err
		}
	}
	p := Plan{Mesh: c.mesh.Name}
	for _, k := range kept() {
		for _, u := range f.Objects {
			if k.is(u) {
				p.Steps = append(p.Steps, step(u, c, t))
			}
		}
	}
	for _, r := range c.used {
		p.Roots = append(p.Roots, health.Fingerprint(r))
	}
	p.notes(f, c, t)
	return p, nil
}

func (f File) withoutKeys() File {
	f.Keys = false
	f.Objects = slices.DeleteFunc(slices.Clone(f.Objects), func(u unstructured.Unstructured) bool {
		// Without its key nothing will ever hang from the old root: nobody need trust it.
		return u.GetKind() == "Secret" || u.GetKind() == "ConfigMap" && u.GetName() == names.TrustConfigMap
	})
	return f
}

func installed(_ File, _ contents, t Target, _ Options) error {
	const first = "install the operator first (kubectl apply --server-side -k config/default, or the Helm chart, or OperatorHub)"
	switch {
	case !t.MeshKind:
		return fmt.Errorf("this cluster does not know the kind Mesh: %s, then restore", first)
	case !t.Namespace:
		return fmt.Errorf("there is no namespace %s: %s, or say where it is with --system-namespace", t.System, first)
	case !t.CertManager:
		return fmt.Errorf("this cluster has no cert-manager, which keeps the certificates: install it first; tulle check prints the command")
	}
	return nil
}

func runnable(_ File, c contents, _ Target, o Options) error {
	known := o.Known
	if cm := c.configMaps[ReleasesConfigMap]; cm != nil {
		for _, text := range cm.Data {
			more, err := release.ParseFile([]byte(text))
			if err != nil {
				continue // The operator says what is wrong with it.
			}
			if with, err := known.With(more); err == nil {
				known = with
			}
		}
	}
	if _, ok := known.Find(c.mesh.Spec.Version); !ok {
		return fmt.Errorf("the mesh ran release %s, which this command does not know, who knows %s: use the command and the operator of a release that knows it, or say with --version which one the mesh is to run", c.mesh.Spec.Version, known.Versions())
	}
	return nil
}

// identities: what Tulle's own root said about workloads is lost without its key.
func identities(f File, c contents, _ Target, o Options) error {
	if !f.Keys && !o.WithoutKeys && c.selfMade() {
		return fmt.Errorf("this backup holds no keys, so the mesh would get a new root, which pods of the old one don't trust: restore a backup with keys, or take that with --without-keys")
	}
	return nil
}

func sameMesh(f File, c contents, t Target, _ Options) error {
	m := t.Mesh
	switch {
	case m == nil:
		return nil
	case m.DeletionTimestamp != nil:
		return fmt.Errorf("the cluster's Mesh %s is being deleted: restore when it has gone (kubectl wait --for=delete mesh.tulle.dev/%s)", m.Name, m.Name)
	case m.Spec.TrustDomain != f.TrustDomain:
		return fmt.Errorf("there is Mesh %s already, of trust domain %s, and the backup is of %s: identities can't be carried from one to another; restore into another cluster, or remove that mesh first with tulle uninstall", m.Name, m.Spec.TrustDomain, f.TrustDomain)
	case m.Name != c.mesh.Name:
		return fmt.Errorf("there is Mesh %s already, and the backup is of Mesh %s: a cluster has one mesh; restore into another cluster, or remove that mesh first with tulle uninstall", m.Name, c.mesh.Name)
	}
	known := fingerprints(c.used)
	if len(known) == 0 {
		return nil
	}
	for _, r := range m.Status.Roots {
		if r.Active && !slices.Contains(known, r.SHA256) {
			return fmt.Errorf("there is Mesh %s already, with another root (%.12s) than the backup's (%.12s), and pods hang from it: restore into another cluster, or, to give that root up, remove that mesh first with tulle uninstall", m.Name, r.SHA256, known[0])
		}
	}
	return nil
}

// sameKeys: a key that is there is the backup's, or stays.
func sameKeys(_ File, c contents, t Target, _ Options) error {
	for _, name := range Secrets() {
		there, ours := t.Secrets[name], c.secrets[name]
		if there == nil || ours == nil {
			continue
		}
		want := publicKeys(rootsOf(ours))
		if !slices.ContainsFunc(rootsOf(there), func(x *x509.Certificate) bool { return holds(want, x) }) {
			return fmt.Errorf("there is Secret %s in %s already, and it belongs to another root than the backup's: if no mesh needs it any more, delete it (kubectl -n %s delete secret %s) and restore again", name, t.System, t.System, name)
		}
	}
	return nil
}

// rootsOf are what an authority's Secret hangs from: intermediates come and go.
func rootsOf(s *corev1.Secret) []*x509.Certificate {
	if roots, err := health.ParsePEM(s.Data["ca.crt"]); err == nil && len(roots) > 0 {
		return roots
	}
	chain, err := health.ParsePEM(s.Data[corev1.TLSCertKey])
	if err != nil || len(chain) == 0 {
		return nil
	}
	return chain[len(chain)-1:] // some issuers give the whole chain and no ca.crt
}

func fingerprints(list []*x509.Certificate) []string {
	var out []string
	for _, c := range list {
		out = append(out, health.Fingerprint(c))
	}
	return out
}

func step(u unstructured.Unstructured, c contents, t Target) Step {
	s := Step{Object: inNamespace(u, t.System), Create: true}
	leave := func(why string) Step {
		s.Create, s.Why = false, why
		return s
	}
	name := u.GetName()
	switch u.GetKind() {
	case "Secret":
		if t.Secrets[name] != nil {
			return leave("it is there, of the same root")
		}
	case "ConfigMap":
		if there := t.ConfigMaps[name]; there != nil {
			if equality.Semantic.DeepEqual(there.Data, c.configMaps[name].Data) {
				return leave("it is there, the same")
			}
			return leave("there is another one, which stays")
		}
	case "XMesh":
		switch {
		case !t.XMeshKind:
			return leave("this cluster does not know the kind (it is in Gateway API's experimental channel)")
		case t.XMesh:
			return leave("it is there")
		}
	case "Mesh":
		if t.Mesh != nil {
			if equality.Semantic.DeepEqual(t.Mesh.Spec, c.mesh.Spec) {
				return leave("it is there, the same")
			}
			return leave("it is there with another spec, which stays: kubectl edit mesh.tulle.dev/" + name)
		}
		_ = unstructured.SetNestedField(s.Object.Object, c.mesh.Spec.Version, "spec", "version") // a map is there: it was read
	}
	return s
}

func (p *Plan) notes(f File, c contents, t Target) {
	say := func(format string, args ...any) { p.Notes = append(p.Notes, fmt.Sprintf(format, args...)) }
	if !f.Keys && c.selfMade() {
		say("The mesh gets a new root: pods of the old mesh and of this one can't verify each other.")
	}
	if ref := c.mesh.Spec.Certificates.IssuerRef; ref != nil {
		say("The root belongs to %s %s, which is not in the backup and has to be there, with the same root.", ref.Kind, ref.Name)
	}
	for _, s := range p.Steps {
		if s.Create && s.Object.GetName() == ReleasesConfigMap {
			say("The operator reads ConfigMap %s when it starts: kubectl -n %s rollout restart deployment tulle-operator", ReleasesConfigMap, t.System)
		}
	}
	if !t.Operator {
		say("No operator runs in %s: nothing becomes of the Mesh until one does.", t.System)
	}
}

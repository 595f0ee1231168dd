// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package backup

import (
	"bytes"
	"strings"
	"testing"
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/names"
)

const (
	years = 8 * 365 * 24 * time.Hour
	days  = 24 * time.Hour
)

// made are the objects that a plan makes, in its order.
func made(p Plan) []string {
	var out []string
	for _, s := range p.Steps {
		if s.Create {
			out = append(out, s.Object.GetKind()+" "+s.Object.GetNamespace()+"/"+s.Object.GetName())
		}
	}
	return out
}

// TestThereAndBack: what was written is put back, the root first and the Mesh last, without what
// belonged to the old cluster; and once that is done, there is nothing to do.
func TestThereAndBack(t *testing.T) {
	w := newWorld(t, "z", years)
	w.ConfigMaps[ReleasesConfigMap] = &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: ReleasesConfigMap}, Data: map[string]string{"releases.yaml": "[]"}}
	w.XMesh = &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": XMeshAPI, "kind": "XMesh", "metadata": map[string]any{"name": names.XMesh}, "spec": map[string]any{"controllerName": names.ControllerName},
	}}
	w.XMesh.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "kubectl"}})
	f := w.file(t, true)
	p, err := Restore(f, fresh(), options(), now())
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"Secret system/tulle-root", "Secret system/tulle-intermediate", "ConfigMap system/tulle-trust", "ConfigMap system/tulle-releases", "XMesh /tulle", "Mesh /tulle",
	}
	if d := cmp.Diff(want, made(p)); d != "" {
		t.Error(d)
	}
	if len(p.Roots) != 1 || p.Roots[0] != w.mesh.Status.Roots[0].SHA256 || !strings.Contains(strings.Join(p.Notes, " "), "rollout restart") {
		t.Errorf("%+v", p)
	}
	for _, s := range p.Steps {
		o := s.Object
		if o.GetUID() != "" || o.GetResourceVersion() != "" || len(o.GetFinalizers()) > 0 || o.Object["status"] != nil || len(o.GetManagedFields()) > 0 {
			t.Errorf("of the old cluster: %+v", o)
		}
	}
	if d := cmp.Diff(map[string]string{"keep": "me"}, p.Steps[5].Object.GetAnnotations()); d != "" {
		t.Error(d)
	}
	// With another issuer there, cert-manager would issue the root again.
	if d := cmp.Diff(map[string]string{cmv1.IssuerNameAnnotationKey: "tulle-selfsigned"}, p.Steps[0].Object.GetAnnotations()); d != "" {
		t.Error(d)
	}
	back, err := secretOf(p.Steps[0].Object)
	if err != nil || !bytes.Equal(back.Data["tls.key"], w.Secrets[names.RootSecret].Data["tls.key"]) {
		t.Errorf("the key is another: %v", err)
	}

	target := w.target()
	target.XMesh = true
	if p, err := Restore(f, target, options(), now()); err != nil || len(made(p)) > 0 || len(p.Steps) != 6 {
		t.Errorf("%v %v", err, made(p))
	}
	// Broken off after the first: the rest is made.
	target = fresh()
	target.Secrets = map[string]*corev1.Secret{names.RootSecret: w.Secrets[names.RootSecret]}
	if p, err := Restore(f, target, options(), now()); err != nil || len(made(p)) != 5 {
		t.Errorf("%v %v", err, made(p))
	}
	// A renewed intermediate below the same root stays.
	target = w.target()
	target.Secrets = map[string]*corev1.Secret{names.RootSecret: w.Secrets[names.RootSecret], names.IntermediateSecret: w.issue(days)}
	if p, err := Restore(f, target, options(), now()); err != nil || len(made(p)) != 1 {
		t.Errorf("%v %v", err, made(p))
	}
}

// TestAfterAYear: the intermediate has ended and is renewed below the root; a root that has ended can't be used.
func TestAfterAYear(t *testing.T) {
	f := newWorld(t, "z", years).file(t, true)
	if _, err := Restore(f, fresh(), options(), now().Add(365*days)); err != nil {
		t.Error(err)
	}
	if _, err := Restore(f, fresh(), options(), now().Add(years+days)); err == nil || !strings.Contains(err.Error(), "--without-keys") {
		t.Error(err)
	}
}

// TestWithoutKeys: no key is written, and a mesh without its own root's key is restored only if that is meant.
func TestWithoutKeys(t *testing.T) {
	w := newWorld(t, "z", years)
	f, err := Make(w.Seen, false, "0.3.0", now())
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := f.Write(&b); err != nil || strings.Contains(b.String(), "PRIVATE KEY") || strings.Contains(b.String(), "kind: Secret") {
		t.Errorf("%v\n%s", err, b.String())
	}
	if _, err := Restore(f, fresh(), options(), now()); err == nil || !strings.Contains(err.Error(), "--without-keys") {
		t.Error(err)
	}
	o := options()
	o.WithoutKeys = true
	for _, f := range []File{f, w.file(t, true)} {
		p, err := Restore(f, fresh(), o, now())
		if d := cmp.Diff([]string{"Mesh /tulle"}, made(p)); err != nil || d != "" || !strings.Contains(strings.Join(p.Notes, " "), "new root") || len(p.Roots) > 0 {
			t.Errorf("%v %s %+v", err, d, p.Notes)
		}
	}
	// The root of an issuer of one's own was never in the backup.
	w.change(t, func(m *v1alpha1.Mesh) {
		m.Spec.Certificates.IssuerRef = &v1alpha1.IssuerRef{Group: "cert-manager.io", Kind: "ClusterIssuer", Name: "corp"}
	})
	p, err := Restore(w.file(t, false), fresh(), options(), now())
	if err != nil || !strings.Contains(strings.Join(p.Notes, " "), "ClusterIssuer corp") {
		t.Errorf("%v %+v", err, p.Notes)
	}
}

// TestRefused: what would mix two meshes, or can't work, and what each says to do.
func TestRefused(t *testing.T) {
	w, other, foreign := newWorld(t, "z", years), newWorld(t, "z", years), newWorld(t, "y", years)
	f := w.file(t, true)
	for name, c := range map[string]struct {
		file   func(*File)
		target func(*Target)
		opts   func(*Options)
		says   []string
	}{
		"another trust domain": {target: func(t *Target) { *t = foreign.target() }, says: []string{"of trust domain y", "backup is of z", "tulle uninstall"}},
		"another root":         {target: func(t *Target) { *t = other.target() }, says: []string{"another root", "tulle uninstall"}},
		"another Mesh":         {target: func(t *Target) { m := *w.mesh; m.Name = "b"; t.Mesh = &m }, says: []string{"Mesh b", "a cluster has one mesh"}},
		"a Mesh that goes":     {target: func(t *Target) { m := *w.mesh; m.DeletionTimestamp = &metav1.Time{Time: now()}; t.Mesh = &m }, says: []string{"being deleted", "kubectl wait"}},
		"a key left behind":    {target: func(t *Target) { t.Secrets = other.Secrets }, says: []string{"Secret tulle-root", "kubectl -n system delete secret"}},
		"no kind":              {target: func(t *Target) { t.MeshKind = false }, says: []string{"kubectl apply"}},
		"no namespace":         {target: func(t *Target) { t.Namespace = false }, says: []string{"namespace system"}},
		"no cert-manager":      {target: func(t *Target) { t.CertManager = false }, says: []string{"cert-manager", "tulle check"}},
		"unknown release":      {opts: func(o *Options) { o.Version = "9.0.0" }, says: []string{"release 9.0.0", "0.3.0", "--version"}},
		"edited":               {file: func(f *File) { f.TrustDomain = "x" }, says: []string{"trust domain x", "is of z"}},
		"no root":              {file: func(f *File) { f.Objects = f.Objects[1:] }, says: []string{"Secret tulle-root, is not there"}},
		"no Mesh":              {file: func(f *File) { f.Objects = f.Objects[:2] }, says: []string{"no Mesh"}},
		"two Meshes":           {file: func(f *File) { f.Objects = append(f.Objects, f.Objects[len(f.Objects)-1]) }, says: []string{"two Meshes"}},
		"a key of another":     {file: func(f *File) { f.Objects[0] = other.file(t, true).Objects[0] }, says: []string{"does not hang from"}},
		"of another domain":    {file: func(f *File) { copy(f.Objects, foreign.file(t, true).Objects[:2]) }, says: []string{"trust domain z", "permits only y"}},
	} {
		t.Run(name, func(t *testing.T) {
			file, target, opts := f, fresh(), options()
			file.Objects = append([]unstructured.Unstructured{}, f.Objects...)
			if c.file != nil {
				c.file(&file)
			}
			if c.target != nil {
				c.target(&target)
			}
			if c.opts != nil {
				c.opts(&opts)
			}
			_, err := Restore(file, target, opts, now())
			if err == nil {
				t.Fatal("taken")
			}
			for _, want := range c.says {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("no %q in: %v", want, err)
				}
			}
		})
	}
}

// TestParse: what is no backup says so.
func TestParse(t *testing.T) {
	var b bytes.Buffer
	if err := newWorld(t, "z", years).file(t, true).Write(&b); err != nil {
		t.Fatal(err)
	}
	for says, text := range map[string]string{
		`kind is ""`:                  "",
		`kind is "Mesh"`:              "kind: Mesh",
		"no YAML":                     "\x00",
		"which is 0.3.0":              strings.Replace(b.String(), APIVersion, "backup.tulle.dev/v2", 1),
		"damaged":                     strings.Replace(b.String(), "keys: true", "keys: perhaps", 1),
		"Secret other":                strings.Replace(b.String(), "name: tulle-root\n", "name: other\n", 1),
		"object 1 of this backup is ": strings.Replace(b.String(), "kind: Secret", "kind: ClusterRole", 1),
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("want %q: %v", says, err)
		}
	}
}

// TestNoBackup: of a mesh that has lost its key none is made that could not be restored.
func TestNoBackup(t *testing.T) {
	w := newWorld(t, "z", years)
	delete(w.Secrets, names.RootSecret)
	if _, err := Make(w.Seen, true, "0.3.0", now()); err == nil || !strings.Contains(err.Error(), "--without-keys") {
		t.Error(err)
	}
	delete(w.ConfigMaps, names.TrustConfigMap)
	if _, err := Make(w.Seen, false, "0.3.0", now()); err == nil || !strings.Contains(err.Error(), "kubectl wait") {
		t.Error(err)
	}
}

// TestOperatorsXMesh: the operator makes its own, which is in no backup.
func TestOperatorsXMesh(t *testing.T) {
	w := newWorld(t, "z", years)
	w.XMesh = &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"name": names.XMesh}, "spec": map[string]any{"controllerName": names.ControllerName}}}
	w.XMesh.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: names.FieldManager}, {Manager: "x", Subresource: "status"}})
	if f := w.file(t, true); len(f.Objects) != 4 {
		t.Errorf("%d objects", len(f.Objects))
	}
}

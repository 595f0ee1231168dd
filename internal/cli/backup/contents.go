// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package backup

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/health"
	"tulle.dev/tulle/internal/names"
)

// contents is what a backup holds, read and found to be whole.
type contents struct {
	mesh       v1alpha1.Mesh
	secrets    map[string]*corev1.Secret
	configMaps map[string]*corev1.ConfigMap
	// roots are those that proxies trusted, used the ones in use of them, by the intermediate.
	roots, used []*x509.Certificate
}

// selfMade tells whether Tulle made the root, so that its key is the mesh's own. While the root
// changes, the intermediate knows better than the Mesh what is in use.
func (c contents) selfMade() bool {
	if i := c.secrets[names.IntermediateSecret]; i != nil {
		by := i.Annotations[cmv1.IssuerNameAnnotationKey]
		return by == names.RootSecret || by == names.SecondRootSecret
	}
	return c.mesh.Spec.Certificates.IssuerRef == nil
}

// read reads the objects, and says why they can't be restored by anybody.
func (f File) read(now time.Time) (contents, error) {
	c := contents{secrets: map[string]*corev1.Secret{}, configMaps: map[string]*corev1.ConfigMap{}}
	for _, u := range f.Objects {
		var err error
		switch u.GetKind() {
		case "Secret":
			c.secrets[u.GetName()], err = secretOf(u)
		case "ConfigMap":
			c.configMaps[u.GetName()], err = configMapOf(u)
		case "Mesh":
			if c.mesh.Name != "" {
				return c, errors.New("this backup holds two Meshes, and a cluster has one: take one of them out of the file")
			}
			c.mesh, err = meshOf(u)
		}
		if err != nil {
			return c, err
		}
	}
	switch td := c.mesh.Spec.TrustDomain; {
	case c.mesh.Name == "":
		return c, errors.New("this backup holds no Mesh: give a whole file of tulle backup")
	case td != f.TrustDomain:
		return c, fmt.Errorf("this backup says that it is of trust domain %s, and the Mesh in it is of %s: identities can't be carried from one to another; give the file as tulle backup wrote it", f.TrustDomain, td)
	}
	var err error
	if t := c.configMaps[names.TrustConfigMap]; t != nil {
		if c.roots, err = health.ParsePEM([]byte(t.Data[names.TrustKey])); err != nil {
			return c, fmt.Errorf("this backup is damaged: ConfigMap %s: %w", t.Name, err)
		}
	}
	if !f.Keys {
		return c, nil
	}
	return c, c.keys(f.TrustDomain, now)
}

// keys looks whether the keys are there, belong to their certificates, and can be used.
func (c *contents) keys(trustDomain string, now time.Time) error {
	for _, name := range Secrets() {
		s := c.secrets[name]
		if s == nil {
			continue
		}
		if _, err := tls.X509KeyPair(s.Data[corev1.TLSCertKey], s.Data[corev1.TLSPrivateKeyKey]); err != nil {
			return fmt.Errorf("in it Secret %s holds no certificate with its key (%w): use another backup", name, err)
		}
	}
	inter := c.secrets[names.IntermediateSecret]
	if inter == nil {
		return fmt.Errorf("there is no Secret %s: use another backup, or one made --without-keys", names.IntermediateSecret)
	}
	facts := health.CertificateFacts{TLSCrt: inter.Data[corev1.TLSCertKey], CACrt: inter.Data["ca.crt"]}
	chain, err := health.ParsePEM(facts.TLSCrt)
	if err != nil || len(chain) == 0 {
		return fmt.Errorf("in it Secret %s holds no certificate: use another backup", inter.Name)
	}
	// An intermediate that has ended since is renewed: it is looked at as of its last day.
	at := now
	if now.After(chain[0].NotAfter) {
		at = chain[0].NotAfter
	}
	a, v := health.ReadAuthority(facts, trustDomain, "the issuer", at)
	if v != nil {
		return fmt.Errorf("in it Secret %s can't be used for trust domain %s: %s", inter.Name, trustDomain, v.Message)
	}
	c.used = a.Roots
	if i := slices.IndexFunc(a.Roots, func(r *x509.Certificate) bool { return now.After(r.NotAfter) }); i >= 0 {
		return fmt.Errorf("the root ended at %s, so nothing can be verified with it any more: restore with --without-keys, for a new root", a.Roots[i].NotAfter.UTC().Format(time.DateOnly))
	}
	if !c.selfMade() {
		return nil
	}
	name := inter.Annotations[cmv1.IssuerNameAnnotationKey]
	root := c.secrets[name]
	if root == nil {
		return fmt.Errorf("the root that %s hangs from, Secret %s, is not there: use another backup", inter.Name, name)
	}
	have := publicKeys(rootsOf(root))
	if !slices.ContainsFunc(a.Roots, func(r *x509.Certificate) bool { return holds(have, r) }) {
		return fmt.Errorf("%s does not hang from Secret %s: use another backup", inter.Name, name)
	}
	return nil
}

func publicKeys(list []*x509.Certificate) [][]byte {
	var out [][]byte
	for _, c := range list {
		out = append(out, c.RawSubjectPublicKeyInfo)
	}
	return out
}

func holds(keys [][]byte, c *x509.Certificate) bool {
	return slices.ContainsFunc(keys, func(k []byte) bool { return bytes.Equal(k, c.RawSubjectPublicKeyInfo) })
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package ca signs certificates with an intermediate from a real cert-manager, for tokens that a real
// API server vouches for.
package ca

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/internal/bounded"
	"tulle.dev/tulle/internal/controlplane/ca"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
	"tulle.dev/tulle/internal/testing/cluster"
)

const (
	domain = "mesh.example"
	host   = "tulle-controlplane.tulle-system.svc"
)

// issuers is the chain that the operator asks cert-manager for.
const issuers = `
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: selfsigned, namespace: %[1]s}
spec: {selfSigned: {}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: root, namespace: %[1]s}
spec:
  isCA: true
  commonName: root
  secretName: root
  duration: 87600h
  privateKey: {algorithm: ECDSA, size: 256}
  issuerRef: {name: selfsigned}
---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: root, namespace: %[1]s}
spec: {ca: {secretName: root}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: intermediate, namespace: %[1]s}
spec:
  isCA: true
  commonName: intermediate
  secretName: intermediate
  duration: 2160h
  privateKey: {algorithm: ECDSA, size: 256, rotationPolicy: Always}
  usages: [cert sign, crl sign]
  nameConstraints: {critical: true, permitted: {uriDomains: [%[2]s]}}
  issuerRef: {name: root}
`

// authority waits for the intermediate and loads it as from a mounted Secret.
func authority(t *testing.T, c *cluster.Cluster, ns, trustDomain string) (*ca.Authority, *corev1.Secret) {
	t.Helper()
	secret := &corev1.Secret{}
	cluster.Eventually(t, time.Minute, "cert-manager issues the intermediate", func() error {
		return c.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "intermediate"}, secret)
	})
	dir := t.TempDir()
	for name, b := range secret.Data {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a, err := ca.NewAuthority(ca.AuthorityOptions{Dir: dir, TrustDomain: trustDomain, DNSNames: []string{host}, Log: logr.Discard()})
	if err != nil {
		t.Fatal(err)
	}
	return a, secret
}

// desk is a signing service on a loopback port and the pods it believes in.
type desk struct {
	t      *testing.T
	c      *cluster.Cluster
	ns     string
	url    string
	client *http.Client
}

func open(t *testing.T) *desk {
	t.Helper()
	d := &desk{t: t, c: cluster.Connect(t)}
	d.ns = d.c.Namespace(t, "ca")
	d.c.MustApply(t, issuers, d.ns, domain)
	a, secret := authority(t, d.c, d.ns, domain)
	if err := a.Ready(); err != nil {
		t.Fatal(err)
	}
	signer, err := ca.NewSigner(ca.SignerOptions{
		Authority: a, Tokens: ca.NewTokenReviews(d.c.Kube.AuthenticationV1().TokenReviews()), TrustDomain: domain,
		Pod: func(k model.Key) (model.Workload, bool) {
			pod := &corev1.Pod{}
			if err := d.c.Get(t.Context(), client.ObjectKey{Namespace: k.Namespace, Name: k.Name}, pod); err != nil {
				return model.Workload{}, false
			}
			return model.Workload{
				Key: k, UID: string(pod.UID), ServiceAccount: pod.Spec.ServiceAccountName, Kind: names.KindSidecar,
				Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")},
			}, true
		},
		Log: logr.Discard(),
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := bounded.NewServer(signer, a.PublicTLS())
	go srv.ServeTLS(l, "", "")
	t.Cleanup(func() { srv.Close() })
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(secret.Data["ca.crt"])
	d.url = "https://" + l.Addr().String() + protocol.SignPath
	d.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: host}}, Timeout: 20 * time.Second}
	return d
}

// pod makes a pod that is never scheduled and its service account.
func (d *desk) pod(name, account string) *corev1.Pod {
	d.t.Helper()
	d.c.MustApply(d.t, "{apiVersion: v1, kind: ServiceAccount, metadata: {name: %s, namespace: %s}}", account, d.ns)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: d.ns}, Spec: corev1.PodSpec{
		ServiceAccountName: account, NodeSelector: map[string]string{"nowhere": "true"},
		Containers: []corev1.Container{{Name: "app", Image: "tulle.local/echo:dev"}},
	}}
	if err := d.c.Create(d.t.Context(), pod); err != nil {
		d.t.Fatal(err)
	}
	return pod
}

// token is a service account's, bound to a pod unless that is nil.
func (d *desk) token(account, audience string, pod *corev1.Pod) string {
	d.t.Helper()
	seconds := int64(600)
	req := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{audience}, ExpirationSeconds: &seconds}}
	if pod != nil {
		req.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID}
	}
	got, err := d.c.Kube.CoreV1().ServiceAccounts(d.ns).CreateToken(d.t.Context(), account, req, metav1.CreateOptions{})
	if err != nil {
		d.t.Fatal(err)
	}
	return got.Status.Token
}

func (d *desk) ask(token string, pod *corev1.Pod) (int, protocol.SignResponse) {
	d.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		d.t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		d.t.Fatal(err)
	}
	body, err := json.Marshal(protocol.SignRequest{
		CSR: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), Pod: pod.Name, PodUID: string(pod.UID),
	})
	if err != nil {
		d.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(d.t.Context(), http.MethodPost, d.url, bytes.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := d.client.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	var out protocol.SignResponse
	if resp.StatusCode == http.StatusOK {
		if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
			d.t.Fatal(err)
		}
	}
	return resp.StatusCode, out
}

// TestSign: a pod's own token gets it a certificate that verifies with the root and names the pod;
// another audience, another pod's token, an unbound one and one of a deleted pod get none.
func TestSign(t *testing.T) {
	d := open(t)
	audience := names.TokenAudience(domain)
	web, bank := d.pod("web-1", "web"), d.pod("bank-1", "bank")
	own := d.token("web", audience, web)
	status, resp := d.ask(own, web)
	if status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	verify(t, resp, web)
	for name, c := range map[string]struct {
		token string
		want  int
	}{
		"API server's audience": {d.token("web", "https://kubernetes.default.svc", web), http.StatusUnauthorized},
		"other mesh's audience": {d.token("web", names.TokenAudience("other.example"), web), http.StatusUnauthorized},
		"bound to no pod":       {d.token("web", audience, nil), http.StatusUnauthorized},
		"another pod's":         {d.token("bank", audience, bank), http.StatusForbidden},
		"forged":                {own[:len(own)-8] + "AAAAAAAA", http.StatusUnauthorized},
		"nonsense":              {"x.y.z", http.StatusUnauthorized},
	} {
		if status, _ := d.ask(c.token, web); status != c.want {
			t.Errorf("%s: status %d, want %d", name, status, c.want)
		}
	}
	now := int64(0)
	if err := d.c.Delete(t.Context(), web, &client.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		t.Fatal(err)
	}
	// The API server remembers a good token for some seconds; the pod is unknown meanwhile.
	cluster.Eventually(t, time.Minute, "a deleted pod's token is refused", func() error {
		status, _ := d.ask(own, web)
		switch status {
		case http.StatusUnauthorized:
			return nil
		case http.StatusOK:
			t.Fatal("a deleted pod got a certificate")
		}
		return fmt.Errorf("status %d", status)
	})
}

func verify(t *testing.T, resp protocol.SignResponse, pod *corev1.Pod) {
	t.Helper()
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(resp.Roots))
	block, rest := pem.Decode([]byte(resp.Chain))
	between.AppendCertsFromPEM(rest)
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Error(err)
	}
	p, err := ca.PrincipalFromCert(leaf, domain)
	want := ca.Principal{Namespace: pod.Namespace, ServiceAccount: "web", Pod: pod.Name, PodUID: string(pod.UID), Kind: names.KindSidecar}
	if err != nil || p != want {
		t.Errorf("got %+v, %v", p, err)
	}
}

// TestConstraintIsReal: what cert-manager issued carries the name constraint, so that the same
// intermediate is refused for another trust domain.
func TestConstraintIsReal(t *testing.T) {
	c := cluster.Connect(t)
	ns := c.Namespace(t, "ca")
	c.MustApply(t, issuers, ns, domain)
	if a, _ := authority(t, c, ns, domain); a.Ready() != nil {
		t.Error(a.Ready())
	}
	a, _ := authority(t, c, ns, "other.example")
	var invalid x509.CertificateInvalidError
	if err := a.Ready(); !errors.Is(err, ca.ErrNotReady) || !errors.As(err, &invalid) || invalid.Reason != x509.CANotAuthorizedForThisName {
		t.Errorf("Ready says %v, want a violated name constraint", err)
	}
}

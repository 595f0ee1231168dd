// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/testing/cluster"
)

// TestSharedIssuer: with a ClusterIssuer that every namespace may use, a certificate that another namespace
// asked it for is neither a workload at a meshed server nor a Gateway at the control plane, whatever names
// it has. One of the same names that the mesh's intermediate signed is: it is not something else that fails.
func TestSharedIssuer(t *testing.T) {
	c := cluster.Connect(t)
	skew(t, c, 5*time.Second)
	system := names.SystemNamespace
	ns, evil := c.Namespace(t, "shared", meshed), c.Namespace(t, "evil")
	c.Deploy(t, ns, cluster.Echo{Name: "server"})
	c.Ready(t, ns, "server")
	server := c.Pods(t, ns, "app=server")[0]
	c.MustApply(t, `
apiVersion: cert-manager.io/v1
kind: ClusterIssuer
metadata: {name: e2e-self}
spec: {selfSigned: {}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: e2e-company, namespace: cert-manager}
spec: {isCA: true, commonName: company, secretName: e2e-company, duration: 87600h, privateKey: {algorithm: ECDSA, size: 256}, issuerRef: {kind: ClusterIssuer, name: e2e-self}}
---
apiVersion: cert-manager.io/v1
kind: ClusterIssuer
metadata: {name: e2e-company}
spec: {ca: {secretName: e2e-company}}
`)
	issuer := func(ctx context.Context, ref string) error {
		patch := client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"spec":{"certificates":{"issuerRef":%s}}}`, ref))
		return c.Patch(ctx, &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: meshName()}}, patch)
	}
	began := time.Now()
	if err := issuer(t.Context(), `{"kind":"ClusterIssuer","name":"e2e-company"}`); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The next test finds the root of its own again; the context of this one has ended.
		if err := issuer(context.Background(), "null"); err != nil {
			t.Error(err)
		}
	})
	rotated(t, c, began, 5*time.Minute)
	for _, x := range c.Mesh(t, meshName()).Status.Conditions {
		if x.Type == v1alpha1.ConditionCertificatesReady && x.Reason != v1alpha1.ReasonIssuedBySharedIssuer {
			t.Errorf("nothing warns of the shared issuer: %s, %s", x.Reason, x.Message)
		}
		if x.Type == v1alpha1.ConditionIntermediatesRequired && x.Status != metav1.ConditionTrue {
			t.Errorf("intermediates are not required: %s", x.Message)
		}
	}

	id := "spiffe://cluster.local/ns/" + ns + "/sa/default"
	c.MustApply(t, `
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: forged, namespace: %s}
spec:
  secretName: forged
  commonName: %s
  subject: {organizationalUnits: [sidecar], serialNumber: %q}
  uris: [%q]
  usages: [digital signature, client auth, server auth]
  privateKey: {algorithm: ECDSA, size: 256}
  issuerRef: {kind: ClusterIssuer, name: e2e-company}
`, evil, server.Name, string(server.UID), id)
	forged := pairIn(t, c, evil, "forged")
	ours := signedWith(t, pairIn(t, c, system, names.IntermediateSecret), server, id)

	replicas := c.Pods(t, system, names.LabelApp+"="+names.ControlPlaneService)
	if len(replicas) == 0 {
		t.Fatal("there is no control plane")
	}
	for name, at := range map[string]struct {
		addr   string
		config *tls.Config
	}{
		"a meshed server": {net.JoinHostPort(server.Status.PodIP, "8080"), &tls.Config{
			ServerName: names.SNIOf(ns, "server", 80), NextProtos: []string{names.ALPNHTTP},
		}},
		"the control plane": {net.JoinHostPort(replicas[0].Status.PodIP, strconv.Itoa(names.PortADS)), &tls.Config{NextProtos: []string{"h2"}}},
	} {
		if err := speaks(t, at.addr, at.config, ours); err != nil {
			t.Errorf("%s refuses a certificate of the mesh, so the test proves nothing: %v", name, err)
		}
		if err := speaks(t, at.addr, at.config, forged); err == nil {
			t.Errorf("%s accepts a forged certificate", name)
		}
	}
}

// speaks makes a TLS connection and waits for the first bytes of HTTP/2: a server of TLS 1.3 refuses a
// client's certificate only after the handshake.
func speaks(t *testing.T, addr string, config *tls.Config, cert tls.Certificate) error {
	t.Helper()
	config = config.Clone()
	config.InsecureSkipVerify = true //nolint:gosec // what the server thinks of the client is the question
	config.Certificates = []tls.Certificate{cert}
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", addr, config)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 9))
	return err
}

// pairIn waits for a Secret of cert-manager and reads its certificate and key.
func pairIn(t *testing.T, c *cluster.Cluster, ns, name string) tls.Certificate {
	t.Helper()
	var out tls.Certificate
	cluster.Eventually(t, time.Minute, "the Secret "+name, func() error {
		s := &corev1.Secret{}
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: name}, s); err != nil {
			return err
		}
		var err error
		out, err = tls.X509KeyPair(s.Data[corev1.TLSCertKey], s.Data[corev1.TLSPrivateKeyKey])
		return err
	})
	return out
}

// signedWith makes a certificate of a pod as the control plane would.
func signedWith(t *testing.T, by tls.Certificate, pod corev1.Pod, id string) tls.Certificate {
	t.Helper()
	uri, err := url.Parse(id)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, URIs: []*url.URL{uri}, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
		Subject:     pkix.Name{CommonName: pod.Name, SerialNumber: string(pod.UID), OrganizationalUnit: []string{names.KindSidecar}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		NotBefore:   time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
	}, by.Leaf, key.Public(), by.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	chain := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for _, c := range by.Certificate {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c})...)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	out, err := tls.X509KeyPair(chain, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

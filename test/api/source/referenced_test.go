// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package source

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"tulle.dev/tulle/internal/controlplane/source"
)

// marker is in the data of all that nothing refers to.
const marker = "NOTHING-REFERS-TO-THIS"

// heard is what the API server has answered about Secrets and ConfigMaps.
type heard struct {
	mu     sync.Mutex
	bytes  int
	marked bool
}

// listen reads along with what the API server answers.
func (c *cluster) listen(rt http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		w, err := rt.RoundTrip(r)
		if err == nil && (strings.Contains(r.URL.Path, "/secrets") || strings.Contains(r.URL.Path, "/configmaps")) {
			w.Body = &along{ReadCloser: w.Body, to: &c.heard}
		}
		return w, err
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

type along struct {
	io.ReadCloser
	to *heard
}

func (a *along) Read(p []byte) (int, error) {
	n, err := a.ReadCloser.Read(p)
	a.to.mu.Lock()
	defer a.to.mu.Unlock()
	a.to.bytes += n
	a.to.marked = a.to.marked || bytes.Contains(p[:n], []byte(marker))
	return n, err
}

// unrelated creates Secrets and ConfigMaps that nothing refers to, of 20 MB together.
func (c *cluster) unrelated() {
	c.t.Helper()
	for i := range 200 {
		for _, o := range []any{&corev1.ConfigMap{}, &corev1.Secret{}} {
			switch o := o.(type) {
			case *corev1.ConfigMap:
				o.Namespace, o.Name = "default", fmt.Sprintf("big-%d", i)
				o.Data = map[string]string{"ca.crt": strings.Repeat(marker+"\n", 2200)}
				if err := c.admin.Create(c.t.Context(), o); err != nil {
					c.t.Fatal(err)
				}
			case *corev1.Secret:
				o.Namespace, o.Name, o.Type = "default", fmt.Sprintf("big-%d", i), corev1.SecretTypeTLS
				o.StringData = map[string]string{"tls.crt": strings.Repeat(marker+"\n", 2200), "tls.key": "y"}
				if err := c.admin.Create(c.t.Context(), o); err != nil {
					c.t.Fatal(err)
				}
			}
		}
	}
}

// edge is the Gateway with certificates.
func edge(certificates ...string) string {
	return `{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {namespace: shop, name: edge}, spec: {gatewayClassName: tulle,
listeners: [{name: http, port: 80, protocol: HTTP}, {name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: ` + strings.Join(certificates, "}, {name: ") + `}]}}]}}`
}

// trusted is a certificate: the API server reads what is in a ClusterTrustBundle.
const trusted = `-----BEGIN CERTIFICATE-----
MIIBhDCCASmgAwIBAgIUFtMc2DzaAxyA46ybTFhbR8wDYGQwCgYIKoZIzj0EAwIw
FjEUMBIGA1UEAwwLZXhhbXBsZS5jb20wIBcNMjYxMTIxMTAyNTI3WhgPMjEyNjEw
MjgxMDI1MjdaMBYxFDASBgNVBAMMC2V4YW1wbGUuY29tMFkwEwYHKoZIzj0CAQYI
KoZIzj0DAQcDQgAEP02tF5ky05MIItF/8ar+NT400GDWMcu+hXqEOgaGlyTRGeuJ
8QKDIibbPskZ/i+ijbJHtDQeOB6PNfElrOqkg6NTMFEwHQYDVR0OBBYEFKWH1a5Q
VxGK4r9rlqhP12axWCnPMB8GA1UdIwQYMBaAFKWH1a5QVxGK4r9rlqhP12axWCnP
MA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSQAwRgIhAJw88j3hx/swwnTs
rPuPeqBUVPmfDGnKOk+MuXY34Rs9AiEAqXXdTfpSyVVGD1e7TE8rgQ6IZzfBFe6Z
J/n52oTi0fc=
-----END CERTIFICATE-----
`

// referred: a change of a Secret that a Gateway refers to arrives within a second; what no longer is referred to is
// dropped; of all else neither the data nor much of the metadata was ever answered.
func (c *cluster) referred(t *testing.T) {
	c.t = t
	problem := func(name string) string {
		s, _ := c.now[source.TLSSecret]["shop/"+name].(source.TLS)
		return s.Problem
	}
	c.until("the Secret as it is", func() bool { return strings.Contains(problem("cert"), "not usable together") })
	began := time.Now()
	c.apply(`{apiVersion: v1, kind: Secret, metadata: {namespace: shop, name: cert}, type: kubernetes.io/tls, data: {tls.crt: "", tls.key: eA==}}`)
	c.until("the Secret as it is now", func() bool { return strings.Contains(problem("cert"), "tls.crt is missing") })
	if took := time.Since(began); took > time.Second {
		t.Errorf("the change of a Secret took %s", took)
	}
	c.apply(`{apiVersion: v1, kind: Secret, metadata: {namespace: shop, name: second}, type: kubernetes.io/tls, stringData: {tls.crt: x, tls.key: "y"}}`, edge("second"))
	c.until("the other Secret alone", func() bool { return problem("second") != "" && c.now[source.TLSSecret]["shop/cert"] == nil })
	c.apply(edge("cert"))
	c.until("the first Secret again", func() bool { return problem("cert") != "" && c.now[source.TLSSecret]["shop/second"] == nil })
	c.delete(`{apiVersion: v1, kind: ConfigMap, metadata: {namespace: shop, name: ca}}`)
	c.until("the ConfigMap gone", func() bool { return c.now[source.CAConfigMap]["shop/ca"] == nil })
	c.trustBundle()

	c.heard.mu.Lock()
	defer c.heard.mu.Unlock()
	t.Logf("%d bytes about Secrets and ConfigMaps", c.heard.bytes)
	if c.heard.marked {
		t.Error("data that nothing refers to was read")
	}
	if c.heard.bytes > 1<<20 {
		t.Errorf("%d bytes were answered about Secrets and ConfigMaps, with 20 MB that nothing refers to", c.heard.bytes)
	}
}

// trustBundle: a ClusterTrustBundle that a policy refers to is read, if the API server has the kind; if not, the
// problem says so.
func (c *cluster) trustBundle() {
	c.t.Helper()
	c.apply(`{apiVersion: gateway.networking.k8s.io/v1, kind: BackendTLSPolicy, metadata: {namespace: shop, name: web}, spec: {targetRefs: [{group: "", kind: Service, name: web}], validation: {hostname: web.example, caCertificateRefs: [{group: certificates.k8s.io, kind: ClusterTrustBundle, name: ca}]}}}`)
	bundle := func() (source.CABundle, bool) {
		b, ok := c.now[source.ClusterTrustBundle]["/ca"].(source.CABundle)
		return b, ok
	}
	if _, err := c.admin.RESTMapper().RESTMapping(schema.GroupKind{Group: "certificates.k8s.io", Kind: "ClusterTrustBundle"}, "v1"); meta.IsNoMatchError(err) {
		c.until("a ClusterTrustBundle that cannot be", func() bool {
			b, ok := bundle()
			return ok && strings.Contains(b.Problem, "this cluster does not serve the kind")
		})
		return
	} else if err != nil {
		c.t.Fatal(err)
	}
	c.apply(`{apiVersion: certificates.k8s.io/v1, kind: ClusterTrustBundle, metadata: {name: ca}, spec: {trustBundle: "` + strings.ReplaceAll(trusted, "\n", `\n`) + `"}}`)
	c.until("a ClusterTrustBundle", func() bool {
		b, ok := bundle()
		return ok && b.Certificates() != ""
	})
	c.delete(`{apiVersion: certificates.k8s.io/v1, kind: ClusterTrustBundle, metadata: {name: ca}}`)
	c.until("the ClusterTrustBundle gone", func() bool { return c.now[source.ClusterTrustBundle]["/ca"] == nil })
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package debug

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"tulle.dev/tulle/internal/names"
)

// certificate is a root that is also the certificate of a server with this name.
func certificate(t *testing.T, name string) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// server answers, and remembers what it was sent.
type server struct {
	*httptest.Server
	mu     sync.Mutex
	tokens []string // of requests, guarded by mu
}

func serve(t *testing.T, cert *tls.Certificate, h http.HandlerFunc) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.tokens = append(s.tokens, r.Header.Get("Authorization"))
		s.mu.Unlock()
		h(w, r)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if cert == nil {
		s.Start()
	} else {
		s.TLS = &tls.Config{Certificates: []tls.Certificate{*cert}}
		s.StartTLS()
	}
	t.Cleanup(s.Close)
	return s
}

func pod(ports ...string) *corev1.Pod {
	p := &corev1.Pod{Status: corev1.PodStatus{PodIP: "192.0.2.1"}}
	c := corev1.Container{Name: names.ContainerControlPlane}
	for _, name := range ports {
		c.Ports = append(c.Ports, corev1.ContainerPort{Name: name})
	}
	p.Spec.Containers = []corev1.Container{{Name: "other", Ports: []corev1.ContainerPort{{Name: "internal"}}}, c}
	return p
}

// TestImpostor: what somebody in a replica's place answers is not believed, in plaintext or by TLS, and the
// impostor does not see the token. Only a pod that was made without the internal port is asked in plaintext.
func TestImpostor(t *testing.T) {
	const host = "tulle-controlplane.tulle-system.svc"
	cert, roots := certificate(t, host)
	forged, _ := certificate(t, host)
	named, namedRoots := certificate(t, "web.shop.svc")
	lie := func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"proxies":[]}`)) }
	for name, c := range map[string]struct {
		pod   *corev1.Pod
		cert  *tls.Certificate
		roots []byte
		port  int
		ok    bool
	}{
		"a replica":               {pod("monitor", "internal"), &cert, roots, names.PortInternal, true},
		"plaintext":               {pod("monitor", "internal"), nil, roots, names.PortInternal, false},
		"another root":            {pod("monitor", "internal"), &forged, roots, names.PortInternal, false},
		"another server's":        {pod("monitor", "internal"), &named, namedRoots, names.PortInternal, false},
		"no roots":                {pod("monitor", "internal"), &cert, nil, 0, false},
		"made by an old release":  {pod("monitor"), nil, roots, names.PortMonitor, true},
		"another container's one": {pod(), nil, roots, names.PortMonitor, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, c.cert, lie)
			dialled := 0
			client := Client{
				Namespace: "tulle-system", Timeout: 10 * time.Second,
				Roots: func(context.Context) ([]byte, error) { return c.roots, nil },
				Token: func(context.Context) (string, error) { return "secret", nil },
				Dial: func(ctx context.Context, _ *corev1.Pod, port int) (net.Conn, error) {
					dialled = port
					return (&net.Dialer{}).DialContext(ctx, "tcp", s.Listener.Addr().String())
				},
			}
			body, err := client.Get(t.Context(), c.pod, names.PathProxies, nil)
			if c.ok != (err == nil && len(body) > 0) || dialled != c.port {
				t.Errorf("%s, %v, port %d", body, err, dialled)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, token := range s.tokens {
				if want := c.ok && c.port == names.PortInternal; (token == "Bearer secret") != want {
					t.Errorf("sent %q", token)
				}
			}
			if c.ok && len(s.tokens) != 1 {
				t.Errorf("%d requests", len(s.tokens))
			}
		})
	}
}

// TestAnswers: refusals are told with what the replica says, redirects are not followed, and an answer is
// bounded.
func TestAnswers(t *testing.T) {
	cert, roots := certificate(t, "tulle-controlplane.tulle-system.svc")
	s := serve(t, &cert, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("name") {
		case "no":
			http.Error(w, "lead may not\nmore", http.StatusForbidden)
		case "away":
			http.Redirect(w, r, "http://192.0.2.9/", http.StatusFound)
		case "endless":
			for range MaxAnswer/(1<<20) + 1 {
				_, _ = w.Write(make([]byte, 1<<20))
			}
		default:
			_, _ = w.Write([]byte(r.URL.RequestURI()))
		}
	})
	client := Client{
		Namespace: "tulle-system", Timeout: time.Minute,
		Roots: func(context.Context) ([]byte, error) { return roots, nil },
		Token: func(context.Context) (string, error) { return "secret", nil },
		Dial: func(ctx context.Context, _ *corev1.Pod, _ int) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", s.Listener.Addr().String())
		},
	}
	ask := func(name string) (string, error) {
		body, err := client.Get(t.Context(), pod("internal"), names.PathTranslation, url.Values{"name": {name}})
		return string(body), err
	}
	if body, err := ask("out/a/b/80"); err != nil || body != "/debug/translation?name=out%2Fa%2Fb%2F80" {
		t.Errorf("%s, %v", body, err)
	}
	var answer *StatusError
	if _, err := ask("no"); !errors.As(err, &answer) || answer.Code != 403 || answer.Body != "lead may not" || answer.Error() != "403 Forbidden: lead may not" {
		t.Errorf("%v", err)
	}
	if _, err := ask("away"); !errors.As(err, &answer) || answer.Code != 302 {
		t.Errorf("%v", err)
	}
	if _, err := ask("endless"); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("%v", err)
	}
	for _, broken := range []func(*Client){
		func(c *Client) {
			c.Roots = func(context.Context) ([]byte, error) { return nil, errors.New("no roots") }
		},
		func(c *Client) { c.Token = func(context.Context) (string, error) { return "", errors.New("no token") } },
	} {
		other := client
		broken(&other)
		if _, err := other.Get(t.Context(), pod("internal"), names.PathProxies, nil); err == nil || !strings.HasPrefix(err.Error(), "no ") {
			t.Errorf("%v", err)
		}
	}
}

// TestAnchors: once intermediates are required, a certificate that the root's issuer made for somebody else in
// the control plane's name is not believed.
func TestAnchors(t *testing.T) {
	const host = "tulle-controlplane.tulle-system.svc"
	root, rootPEM := certificate(t, "root")
	inter, interPEM := below(t, root, "intermediate")
	own, _ := below(t, inter, host)
	forged, _ := below(t, root, host)
	for name, c := range map[string]struct {
		cert *tls.Certificate
		data map[string]string
		ok   bool
	}{
		"own":                              {&own, map[string]string{names.TrustKey: string(rootPEM), names.IntermediatesKey: string(interPEM)}, true},
		"the issuer's other":               {&forged, map[string]string{names.TrustKey: string(rootPEM), names.IntermediatesKey: string(interPEM)}, false},
		"the issuer's other, not required": {&forged, map[string]string{names.TrustKey: string(rootPEM)}, true},
	} {
		s := serve(t, c.cert, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) })
		client := Client{
			Namespace: "tulle-system", Timeout: 10 * time.Second,
			Roots: func(context.Context) ([]byte, error) { return []byte(Anchors(&corev1.ConfigMap{Data: c.data})), nil },
			Token: func(context.Context) (string, error) { return "secret", nil },
			Dial: func(ctx context.Context, _ *corev1.Pod, _ int) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "tcp", s.Listener.Addr().String())
			},
		}
		if _, err := client.Get(t.Context(), pod("internal"), names.PathProxies, nil); c.ok != (err == nil) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// below is a certificate signed by another one, with its chain up to the root.
func below(t *testing.T, parent tls.Certificate, name string) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := x509.ParseCertificate(parent.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, signer, key.Public(), parent.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	chain := append([][]byte{der}, parent.Certificate...)
	return tls.Certificate{Certificate: chain, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cluster

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// debugAPI plays an API server with the roots and a token for the account names.DebugAccount.
type debugAPI struct {
	roots     string
	forbidden bool         // to create a token
	proxied   atomic.Int32 // requests to pods through the API server itself
}

func (a *debugAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	status := func(code int, reason metav1.StatusReason) {
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(metav1.Status{
			TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Reason: reason, Code: int32(code), Message: "serviceaccounts/token is forbidden",
		})
	}
	switch r.Method + " " + r.URL.Path {
	case "GET /api/v1/namespaces/mesh-system/configmaps/tulle-trust":
		_ = json.NewEncoder(w).Encode(corev1.ConfigMap{TypeMeta: metav1.TypeMeta{Kind: "ConfigMap", APIVersion: "v1"}, Data: map[string]string{names.TrustKey: a.roots}})
	case "POST /api/v1/namespaces/mesh-system/serviceaccounts/tulle-debug/token":
		var t authenticationv1.TokenRequest
		body, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(body, &t); err != nil || a.forbidden || len(t.Spec.Audiences) != 1 || t.Spec.Audiences[0] != names.InternalAudience || *t.Spec.ExpirationSeconds != 600 {
			status(http.StatusForbidden, metav1.StatusReasonForbidden)
			return
		}
		t.TypeMeta = metav1.TypeMeta{Kind: "TokenRequest", APIVersion: "authentication.k8s.io/v1"}
		t.Status.Token = "of-the-account"
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(t)
	case "GET /api/v1/namespaces/mesh-system/pods/http:old:15014/proxy/debug/proxies":
		a.proxied.Add(1)
		_, _ = w.Write([]byte(`{"proxies":[{"pod":"from-old"}]}`))
	default:
		status(http.StatusNotFound, metav1.StatusReasonNotFound)
	}
}

func controlPlanePod(name string, ports ...string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "mesh-system"}, Status: corev1.PodStatus{PodIP: "192.0.2.1"}}
	c := corev1.Container{Name: names.ContainerControlPlane}
	for _, name := range ports {
		c.Ports = append(c.Ports, corev1.ContainerPort{Name: name})
	}
	p.Spec.Containers = []corev1.Container{c}
	return p
}

// TestAskReplica: a replica is asked by TLS with a token of the debug account. What an impostor answers is
// an error, a missing right says how to grant it, and only a replica of an old release is asked through the
// API server's proxy.
func TestAskReplica(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"tulle-controlplane.mesh-system.svc"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	answers := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.TLS != nil && r.Header.Get("Authorization") != "Bearer of-the-account":
			http.Error(w, "who is it?", http.StatusUnauthorized)
		case r.URL.Query().Get("name") == "key":
			http.Error(w, protocol.HiddenResource, http.StatusForbidden)
		case r.URL.Path == names.PathTranslation:
			http.NotFound(w, r)
		default:
			_, _ = w.Write([]byte(`{"proxies":[{"pod":"from-new"}]}`))
		}
	})
	replica := httptest.NewUnstartedServer(answers)
	replica.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	replica.StartTLS()
	defer replica.Close()
	impostor := httptest.NewServer(answers)
	defer impostor.Close()

	roots := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	connect := func(a *debugAPI, to *httptest.Server) *Cluster {
		srv := httptest.NewServer(a)
		t.Cleanup(srv.Close)
		c, err := New(&rest.Config{Host: srv.URL}, "", "mesh-system")
		if err != nil {
			t.Fatal(err)
		}
		c.debug.dial = func(ctx context.Context, _ *corev1.Pod, port int) (net.Conn, error) {
			if port != names.PortInternal {
				t.Errorf("dialled port %d", port)
			}
			return (&net.Dialer{}).DialContext(ctx, "tcp", to.Listener.Addr().String())
		}
		return c
	}
	fresh := controlPlanePod("new", "monitor", "internal")
	api := &debugAPI{roots: roots}
	c := connect(api, replica)
	if got, err := c.replica(t.Context(), fresh); err != nil || len(got) != 1 || got[0].Pod != "from-new" || got[0].Replica != "new" {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := c.replica(t.Context(), controlPlanePod("old", "monitor")); err != nil || len(got) != 1 || got[0].Pod != "from-old" {
		t.Errorf("%+v, %v", got, err)
	}
	if n := api.proxied.Load(); n != 1 {
		t.Errorf("%d requests through the API server's proxy", n)
	}
	r := Replica{Pod: "new", pod: fresh}
	if _, err := c.Translated(t.Context(), r, "x.Secret", "key"); !errors.Is(err, ErrHidden) {
		t.Errorf("%v", err)
	}
	if text, err := c.Translated(t.Context(), r, "x.Cluster", "none"); err != nil || text != "" {
		t.Errorf("%q, %v", text, err)
	}
	for name, bad := range map[string]*Cluster{
		"plaintext":    connect(&debugAPI{roots: roots}, impostor),
		"another root": connect(&debugAPI{roots: ""}, replica),
	} {
		if got, err := bad.replica(t.Context(), fresh); err == nil {
			t.Errorf("%s: believed %+v", name, got)
		}
	}
	_, err = connect(&debugAPI{roots: roots, forbidden: true}, replica).replica(t.Context(), fresh)
	if err == nil || !strings.Contains(err.Error(), "kubectl -n mesh-system create rolebinding NAME --role=tulle-debug-user --user=YOU") {
		t.Errorf("%v", err)
	}
}

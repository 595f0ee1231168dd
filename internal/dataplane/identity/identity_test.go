// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// plane is a control plane that signs, or answers whatever answer says.
type plane struct {
	*httptest.Server
	root   []byte
	key    *ecdsa.PrivateKey
	cert   *x509.Certificate
	answer func(w http.ResponseWriter, q protocol.SignRequest) // nil: sign
	life   time.Duration
	token  string
	body   []byte
}

func newPlane(t *testing.T) *plane {
	t.Helper()
	p := &plane{life: time.Hour}
	var err error
	if p.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, p.key.Public(), p.key)
	if err != nil {
		t.Fatal(err)
	}
	if p.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	p.root = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	p.Server = httptest.NewUnstartedServer(http.HandlerFunc(p.serve))
	p.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: p.key}}}
	p.Config.ErrorLog = slog.NewLogLogger(slog.NewTextHandler(io.Discard, nil), slog.LevelError)
	p.StartTLS()
	t.Cleanup(p.Close)
	return p
}

func (p *plane) serve(w http.ResponseWriter, r *http.Request) {
	p.token = r.Header.Get("Authorization")
	p.body, _ = io.ReadAll(r.Body)
	var q protocol.SignRequest
	if err := json.Unmarshal(p.body, &q); err != nil || r.URL.Path != protocol.SignPath || r.Method != http.MethodPost {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if p.answer != nil {
		p.answer(w, q)
		return
	}
	block, _ := pem.Decode([]byte(q.CSR))
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil || csr.CheckSignature() != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	json.NewEncoder(w).Encode(protocol.SignResponse{Chain: string(p.leaf(csr.PublicKey)), Roots: string(p.root)})
}

func (p *plane) leaf(public any) []byte {
	template := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-10 * time.Minute), NotAfter: time.Now().Add(p.life)}
	der, err := x509.CreateCertificate(rand.Reader, template, p.cert, public, p.key)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func (p *plane) signer(t *testing.T) *Signer {
	t.Helper()
	dir := t.TempDir()
	s := &Signer{
		Addr: p.Listener.Addr().String(), Host: "127.0.0.1", Pod: "cart-0", PodUID: "uid",
		TokenFile: filepath.Join(dir, "token"), TrustFile: filepath.Join(dir, "ca.crt"),
	}
	write(t, s.TokenFile, "first\n")
	write(t, s.TrustFile, string(p.root))
	return s
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestSign(t *testing.T) {
	p := newPlane(t)
	s := p.signer(t)
	c, err := s.Sign(t.Context(), 5*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if c.TLS.Leaf.SerialNumber.Int64() != 2 || !c.NotAfter.Equal(c.TLS.Leaf.NotAfter) || string(c.Roots) != string(p.root) {
		t.Errorf("certificate %+v", c)
	}
	var q protocol.SignRequest
	if err := json.Unmarshal(p.body, &q); err != nil || q.Pod != "cart-0" || q.PodUID != "uid" || time.Duration(q.Lifetime) != 5*time.Minute || len(p.body) > protocol.MaxSignRequest {
		t.Errorf("request %s, %v", p.body, err)
	}
	if strings.Contains(string(p.body), "PRIVATE") {
		t.Error("the key was sent")
	}
	// The kubelet renews the token: it is read again. Every certificate has a key of its own.
	write(t, s.TokenFile, "second")
	d, err := s.Sign(t.Context(), 0)
	if err != nil || p.token != "Bearer second" {
		t.Errorf("token %q, %v; want the second", p.token, err)
	}
	if string(d.Key) == string(c.Key) {
		t.Error("the key was used again")
	}
}

func TestSignFails(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(p *plane, s *Signer)
		say   string
	}{
		{"refused", func(p *plane, _ *Signer) {
			p.answer = func(w http.ResponseWriter, _ protocol.SignRequest) {
				w.WriteHeader(http.StatusForbidden)
				json.NewEncoder(w).Encode(protocol.SignError{Message: "pod cart-0 is not a live pod of this mesh"})
			}
		}, "pod cart-0 is not a live pod of this mesh (403)"},
		{"refused without a word", func(p *plane, _ *Signer) {
			p.answer = func(w http.ResponseWriter, _ protocol.SignRequest) { w.WriteHeader(http.StatusServiceUnavailable) }
		}, "Service Unavailable (503)"},
		{"garbage", func(p *plane, _ *Signer) {
			p.answer = func(w http.ResponseWriter, _ protocol.SignRequest) { io.WriteString(w, "{") }
		}, "read the answer"},
		{"somebody else's key", func(p *plane, _ *Signer) {
			p.answer = func(w http.ResponseWriter, _ protocol.SignRequest) {
				json.NewEncoder(w).Encode(protocol.SignResponse{Chain: string(p.leaf(p.key.Public()))})
			}
		}, "private key does not match"},
		{"expired", func(p *plane, _ *Signer) { p.life = -time.Minute }, "compare the clocks"},
		{"another root", func(_ *plane, s *Signer) {
			other := newPlane(t)
			write(t, s.TrustFile, string(other.root))
		}, "certificate"},
		{"no root", func(_ *plane, s *Signer) { write(t, s.TrustFile, "") }, "has no certificate"},
		{"no token", func(_ *plane, s *Signer) { s.TokenFile += "x" }, "read the token"},
		{"another name", func(_ *plane, s *Signer) { s.Host = "tulle-controlplane.tulle-system.svc" }, "valid for"},
		{"nobody there", func(p *plane, _ *Signer) { p.Close() }, "connection refused"},
	} {
		p := newPlane(t)
		s := p.signer(t)
		c.spoil(p, s)
		if _, err := s.Sign(t.Context(), 0); err == nil || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v, want an error with %q", c.name, err, c.say)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	p := newPlane(t)
	p.answer = func(w http.ResponseWriter, _ protocol.SignRequest) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusTooManyRequests)
	}
	_, err := p.signer(t).Sign(t.Context(), 0)
	if got := retryAfter(err); got != 7*time.Second {
		t.Errorf("retry after %v, want 7 s (%v)", got, err)
	}
}

func TestRenewIn(t *testing.T) {
	now := time.Now()
	for _, c := range []struct{ left, least, most time.Duration }{
		{24 * time.Hour, 14*time.Hour + 48*time.Minute - time.Minute, 16 * time.Hour},
		{time.Minute, 37 * time.Second, 40 * time.Second}, // back-dated by more than it lives
		{time.Second, time.Second, time.Second},
		{-time.Hour, time.Second, time.Second},
	} {
		cert := &Certificate{NotBefore: now.Add(-10 * time.Minute), NotAfter: now.Add(c.left)}
		for range 100 {
			if got := renewIn(cert, now); got < c.least || got > c.most {
				t.Errorf("with %v left it is renewed in %v, want %v to %v", c.left, got, c.least, c.most)
				break
			}
		}
	}
}

func TestKeeper(t *testing.T) {
	type call struct {
		lifetime time.Duration
		answer   chan error
	}
	calls := make(chan call)
	sign := func(ctx context.Context, lifetime time.Duration) (*Certificate, error) {
		c := call{lifetime, make(chan error)}
		select {
		case calls <- c:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if err := <-c.answer; err != nil {
			return nil, err
		}
		return &Certificate{NotBefore: time.Now(), NotAfter: time.Now().Add(time.Second)}, nil
	}
	changed := make(chan *Certificate, 10)
	k := NewKeeper(sign, func(c *Certificate) { changed <- c }, slog.New(slog.NewTextHandler(io.Discard, nil)))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { k.Run(ctx); close(done) }()

	refused := errors.New("refused")
	c := <-calls
	c.answer <- refused
	c = <-calls // tried again
	if k.Current() != nil || !errors.Is(k.Failure(), refused) {
		t.Errorf("after a failure: %v, %v", k.Current(), k.Failure())
	}
	k.SetLifetime(time.Hour)
	c.answer <- nil
	first := <-changed
	if k.Current() != first || k.Failure() != nil {
		t.Errorf("current %p, want %p; failure %v", k.Current(), first, k.Failure())
	}
	c = <-calls // renewed
	if c.lifetime != time.Hour {
		t.Errorf("asked for a life of %v, want 1 h", c.lifetime)
	}
	c.answer <- refused
	c = <-calls
	if k.Current() != first {
		t.Error("a failed renewal took the certificate away")
	}
	c.answer <- nil
	if second := <-changed; second == first {
		t.Error("the renewal brought the same certificate")
	}
	cancel()
	<-done
}

// TestForgedControlPlane: a certificate for the control plane's name that the issuer of the root signed for
// somebody else gets neither the pod's token nor a request, once the mesh's intermediates are known. Where
// only roots are, as for release 0.2.0, it does.
func TestForgedControlPlane(t *testing.T) {
	p := newPlane(t)
	s := p.signer(t)
	if _, err := s.Sign(t.Context(), time.Minute); err != nil || p.token == "" {
		t.Fatalf("refused although only roots are known; the test proves nothing: %v", err)
	}
	p.token = ""
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	intermediate := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "intermediate"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, intermediate, p.cert, key.Public(), p.key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(filepath.Dir(s.TrustFile), names.IntermediatesKey), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	if _, err := s.Sign(t.Context(), time.Minute); err == nil || p.token != "" {
		t.Errorf("accepted (%v); the token got out: %v", err, p.token != "")
	}

	// The same control plane, with a certificate that the intermediate signed.
	ours := &x509.Certificate{
		SerialNumber: big.NewInt(8), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	parent, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.CreateCertificate(rand.Reader, ours, parent, p.key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(p.serve))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{leaf, der}, PrivateKey: p.key}}}
	server.StartTLS()
	t.Cleanup(server.Close)
	s.Addr = server.Listener.Addr().String()
	if _, err := s.Sign(t.Context(), time.Minute); err != nil {
		t.Errorf("the control plane's own certificate is refused: %v", err)
	}
}

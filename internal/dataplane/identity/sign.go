// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package identity

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// Signer asks a control plane for certificates. Its fields are not changed after first use.
type Signer struct {
	Addr string // host:port of the signing endpoint
	// Dial connects to the signing endpoint and checks its certificate by the configuration; nil: to Addr.
	Dial      func(context.Context, *tls.Config) (net.Conn, error)
	Host      string // name in its certificate
	TokenFile string
	TrustFile string
	Pod       string
	PodUID    string
}

// Certificate is a workload's certificate with its key.
type Certificate struct {
	Chain []byte // PEM, leaf first
	Key   []byte // PEM; never written to a file
	Roots []byte // PEM
	// NotBefore and NotAfter bound the leaf's life.
	NotBefore, NotAfter time.Time
	// TLS is the same for Go.
	TLS tls.Certificate
}

// Refusal is the control plane's answer when it does not sign.
type Refusal struct {
	Status     int // HTTP status, see protocol.SignPath
	Message    string
	RetryAfter time.Duration // 0: not said
}

func (r *Refusal) Error() string { return fmt.Sprintf("%s (%d)", r.Message, r.Status) }

// ReadAnchors reads the certificates that a chain of the mesh must end in, PEM: the mesh's own intermediates
// if there is a file of them beside that of the roots, else the roots. The issuer of a root may sign for
// others than this mesh, so once there are intermediates the roots do not count.
func ReadAnchors(rootsFile string) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(filepath.Dir(rootsFile), names.IntermediatesKey))
	if len(bytes.TrimSpace(b)) > 0 {
		return b, nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read the mesh's intermediates: %w", err)
	}
	if b, err = os.ReadFile(rootsFile); err != nil {
		return nil, fmt.Errorf("read the mesh's roots: %w", err)
	}
	return b, nil
}

// ReadRoots reads what the control plane's certificate is verified by, see ReadAnchors. It is done for every
// connection: the kubelet keeps the files current.
func ReadRoots(file string) (*x509.CertPool, error) {
	b, err := ReadAnchors(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("read the mesh's roots: %s has no certificate", file)
	}
	return pool, nil
}

// Sign makes a new key and gets a certificate for it; lifetime 0 leaves its length to the control plane.
func (s *Signer) Sign(ctx context.Context, lifetime time.Duration) (*Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	// The subject is for people; the identity comes from the token.
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate request: %w", err)
	}
	answer, err := s.post(ctx, protocol.SignRequest{
		CSR:      string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr})),
		Pod:      s.Pod,
		PodUID:   s.PodUID,
		Lifetime: protocol.Duration(lifetime),
	})
	if err != nil {
		return nil, fmt.Errorf("get a certificate from %s: %w", s.Addr, err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode the key: %w", err)
	}
	c := &Certificate{
		Chain: []byte(answer.Chain),
		Key:   pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}),
		Roots: []byte(answer.Roots),
	}
	if c.TLS, err = tls.X509KeyPair(c.Chain, c.Key); err != nil {
		return nil, fmt.Errorf("certificate from %s: %w", s.Addr, err)
	}
	// What counts is the certificate, whatever the answer says beside it.
	c.NotBefore, c.NotAfter = c.TLS.Leaf.NotBefore, c.TLS.Leaf.NotAfter
	if !time.Now().Before(c.NotAfter) {
		return nil, fmt.Errorf("certificate from %s: it expired at %s already: compare the clocks", s.Addr, c.NotAfter)
	}
	return c, nil
}

// post sends one request on a connection of its own.
func (s *Signer) post(ctx context.Context, q protocol.SignRequest) (*protocol.SignResponse, error) {
	token, err := os.ReadFile(s.TokenFile)
	if err != nil {
		return nil, fmt.Errorf("read the token: %w", err)
	}
	roots, err := ReadRoots(s.TrustFile)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(q)
	if err != nil {
		return nil, fmt.Errorf("encode the request: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+s.Addr+protocol.SignPath, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	r.Header.Set("Content-Type", "application/json")
	config := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots, ServerName: s.Host}
	t := &http.Transport{DisableKeepAlives: true, TLSClientConfig: config}
	if s.Dial != nil {
		t.DialTLSContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return s.Dial(ctx, config) }
	}
	resp, err := t.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, refusal(resp, b)
	}
	var a protocol.SignResponse
	if err := json.Unmarshal(b, &a); err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	return &a, nil
}

func refusal(resp *http.Response, body []byte) error {
	r := &Refusal{Status: resp.StatusCode}
	var e protocol.SignError
	if json.Unmarshal(body, &e) == nil {
		r.Message = e.Message
	}
	if r.Message == "" {
		r.Message = http.StatusText(resp.StatusCode)
	}
	if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n > 0 {
		r.RetryAfter = min(time.Duration(n)*time.Second, 5*time.Minute)
	}
	return r
}

// retryAfter is how long the control plane asked to wait, or 0.
func retryAfter(err error) time.Duration {
	var r *Refusal
	if errors.As(err, &r) {
		return r.RetryAfter
	}
	return 0
}

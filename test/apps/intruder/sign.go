// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

type signer struct {
	o      options
	key    *ecdsa.PrivateKey
	roots  *x509.CertPool
	client *http.Client
	own    string // the pod's token
	other  string // its token for another audience
}

// attempt is one request for a certificate.
type attempt struct {
	token string
	body  any // protocol.SignRequest, or []byte for what is not one
}

func newSigner(o options) (*signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	pemRoots, err := os.ReadFile(o.trust)
	if err != nil {
		return nil, fmt.Errorf("read the mesh's roots: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pemRoots)
	s := &signer{o: o, key: key, roots: roots, client: &http.Client{
		Timeout:   15 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}},
	}}
	for file, to := range map[string]*string{o.token: &s.own, o.otherAudience: &s.other} {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read token: %w", err)
		}
		*to = strings.TrimSpace(string(b))
	}
	return s, nil
}

// csr asks for an identity that is not ours; the control plane must not care.
func (s *signer) csr() string {
	admin, err := url.Parse("spiffe://cluster.local/ns/kube-system/sa/admin")
	if err != nil {
		panic(err) // a constant
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "system:admin"}, URIs: []*url.URL{admin}, DNSNames: []string{"kubernetes.default.svc"},
	}, s.key)
	if err != nil {
		panic(err) // our own key
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

func (s *signer) request() protocol.SignRequest {
	return protocol.SignRequest{CSR: s.csr(), Pod: s.o.pod, PodUID: s.o.uid}
}

func (s *signer) attempts() map[string]attempt {
	otherPod := s.request()
	otherPod.Pod, otherPod.PodUID = s.o.stolenPod, s.o.stolenUID
	malformed := s.request()
	malformed.CSR = "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"
	return map[string]attempt{
		"own":                       {s.own, s.request()},
		"no token":                  {"", s.request()},
		"forged token":              {s.own[:len(s.own)-8] + "AAAAAAAA", s.request()},
		"token of another audience": {s.other, s.request()},
		"own token for another pod": {s.own, otherPod},
		"stolen token for its pod":  {s.o.stolen, otherPod},
		"stolen token for own pod":  {s.o.stolen, s.request()},
		"malformed CSR":             {s.own, malformed},
		"not JSON":                  {s.own, []byte("garbage")},
		"oversized":                 {s.own, bytes.Repeat([]byte("A"), protocol.MaxSignRequest+1)},
	}
}

// ask returns the status and, of a refusal, its message.
func (s *signer) ask(a attempt) string {
	status, body, err := s.post(a)
	if err != nil {
		return "error: " + err.Error()
	}
	var refusal protocol.SignError
	if status != http.StatusOK && json.Unmarshal(body, &refusal) == nil {
		return strconv.Itoa(status) + " " + refusal.Message
	}
	return strconv.Itoa(status)
}

func (s *signer) post(a attempt) (int, []byte, error) {
	body, ok := a.body.([]byte)
	if !ok {
		var err error
		if body, err = json.Marshal(a.body); err != nil {
			return 0, nil, err
		}
	}
	req, err := http.NewRequest(http.MethodPost, "https://"+net.JoinHostPort(s.o.host, strconv.Itoa(names.PortSign))+protocol.SignPath, bytes.NewReader(body)) //nolint:noctx // the client has a timeout
	if err != nil {
		return 0, nil, err
	}
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, answer, err
}

// certificate gets the pod's own certificate; refusals for too many requests are waited out.
func (s *signer) certificate() (tls.Certificate, *x509.Certificate, error) {
	for range 30 {
		status, body, err := s.post(attempt{s.own, s.request()})
		if err != nil {
			return tls.Certificate{}, nil, err
		}
		if status == http.StatusTooManyRequests {
			time.Sleep(time.Second)
			continue
		}
		var r protocol.SignResponse
		if err := json.Unmarshal(body, &r); status != http.StatusOK || err != nil {
			return tls.Certificate{}, nil, fmt.Errorf("own certificate refused: %d %s", status, body)
		}
		der, err := x509.MarshalECPrivateKey(s.key)
		if err != nil {
			return tls.Certificate{}, nil, err
		}
		cert, err := tls.X509KeyPair([]byte(r.Chain), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
		if err != nil {
			return tls.Certificate{}, nil, err
		}
		leaf, err := x509.ParseCertificate(cert.Certificate[0])
		return cert, leaf, err
	}
	return tls.Certificate{}, nil, errors.New("own certificate: refused for too many requests for 30 s")
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package status

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

// TestImpostorReplica: progress that somebody else sends in a replica's place is not taken, whether it is
// sent in plaintext or by TLS with another certificate, and the token is not shown to the impostor.
func TestImpostorReplica(t *testing.T) {
	var tokens atomic.Int32
	lie := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			tokens.Add(1)
		}
		_, _ = w.Write([]byte(`{"seq":7,"all":true,"release":"0.3.0","rows":[{"subject":{"Kind":"HTTPRoute"},"progress":{"Config":"c","Needed":1,"Acked":1}}]}`))
	})
	plain, secure := httptest.NewServer(lie), httptest.NewTLSServer(lie)
	defer plain.Close()
	defer secure.Close()
	trusted := x509.NewCertPool()
	trusted.AddCert(secure.Certificate())
	config := func(roots *x509.CertPool, name string) func() (*tls.Config, error) {
		return func() (*tls.Config, error) { return &tls.Config{RootCAs: roots, ServerName: name}, nil }
	}
	for name, c := range map[string]struct {
		srv *httptest.Server
		tls func() (*tls.Config, error)
		ok  bool
	}{
		"plaintext":      {plain, config(trusted, "example.com"), false},
		"another root":   {secure, config(x509.NewCertPool(), "example.com"), false},
		"another name":   {secure, config(trusted, "tulle-controlplane.tulle-system.svc"), false},
		"a real replica": {secure, config(trusted, "example.com"), true},
	} {
		t.Run(name, func(t *testing.T) {
			tokens.Store(0)
			col := Collector{Dial: dialing(c.srv), TLS: c.tls, Token: func() (string, error) { return "secret", nil }}
			r, err := col.remote(Peer{Address: "192.0.2.2"})(t.Context(), 0)
			if c.ok != (err == nil && r.Seq == 7) {
				t.Errorf("%+v, %v", r, err)
			}
			if sent := tokens.Load() > 0; sent != c.ok {
				t.Errorf("the token was sent: %v", sent)
			}
		})
	}
}

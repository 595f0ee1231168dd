// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// listen is a TLS server at an address of the loopback and a port, or at any port; its certificate is for
// example.com.
func listen(t *testing.T, ip string, port int) (*httptest.Server, int) {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(ip, strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(nil)
	s.Listener.Close()
	s.Listener = l
	s.StartTLS()
	t.Cleanup(s.Close)
	return s, l.Addr().(*net.TCPAddr).Port
}

// TestDial: the file's addresses come first, so that no resolver is needed; one that refuses, or where
// somebody else answers, is passed over; without any the name is asked for; the error names all.
func TestDial(t *testing.T) {
	real, port := listen(t, "127.0.0.2", 0)
	impostor, _ := listen(t, "127.0.0.3", port)
	pool := x509.NewCertPool()
	pool.AddCert(real.Certificate())
	config := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool, ServerName: "example.com"}
	// httptest has one certificate for all, so the impostor is given another.
	impostor.TLS.Certificates = []tls.Certificate{{}}
	const none = "control-plane.invalid"
	for name, c := range map[string]struct {
		file, host string
		reached    string
		failed     []string
	}{
		"an address and no resolver": {"127.0.0.2\n", none, "127.0.0.2", nil},
		"two families":               {"::1\n127.0.0.2\n", none, "127.0.0.2", nil},
		"a former address":           {"127.0.0.4\n127.0.0.2\n", none, "127.0.0.2", nil},
		"somebody else's address":    {"127.0.0.3\n", "127.0.0.2", "127.0.0.2", nil},
		"nonsense":                   {"tulle\n\n,127.0.0.2 127.0.0.2", none, "127.0.0.2", nil},
		"an empty file":              {"", "127.0.0.2", "127.0.0.2", nil},
		"nowhere":                    {"127.0.0.4\n127.0.0.3\n", none, "", []string{"127.0.0.4:", "TLS with 127.0.0.3:", none}},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "addresses")
			if err := os.WriteFile(file, []byte(c.file), 0o600); err != nil {
				t.Fatal(err)
			}
			conn, err := Dialer{Host: c.host, AddressesFile: file}.Dial(t.Context(), port, config)
			if err == nil {
				defer conn.Close()
				if got := conn.RemoteAddr().(*net.TCPAddr).IP.String(); got != c.reached {
					t.Errorf("reached %s, want %q", got, c.reached)
				}
				return
			}
			if c.reached != "" {
				t.Fatal(err)
			}
			for _, word := range c.failed {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q does not say %q", err, word)
				}
			}
		})
	}
	// A pod that an earlier release's operator looks after has no such file.
	conn, err := Dialer{Host: "127.0.0.2", AddressesFile: filepath.Join(t.TempDir(), "none")}.Dial(t.Context(), port, config)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

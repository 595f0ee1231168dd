// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"tulle.dev/tulle/test/apps/report"
)

// start runs the server on free ports and ends it with the test.
func start(t *testing.T, o options) options {
	t.Helper()
	for _, a := range []*string{&o.http, &o.https, &o.grpc, &o.tcp, &o.banner} {
		lis, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		*a = lis.Addr().String()
		lis.Close()
	}
	o.name, o.grace = "echo", 5*time.Second
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, o) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		c, err := net.Dial("tcp", o.banner) // the last to listen
		if err == nil {
			c.Close()
			return o
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

func client(h2 bool) *http.Client {
	p := new(http.Protocols)
	p.SetHTTP1(!h2)
	p.SetUnencryptedHTTP2(h2)
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		Protocols:       p,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // the server's certificate is its own invention
	}}
}

func decode(t *testing.T, res *http.Response) answer {
	t.Helper()
	defer res.Body.Close()
	var a answer
	if err := json.NewDecoder(res.Body).Decode(&a); err != nil {
		t.Fatal(err)
	}
	return a
}

// TestHTTP: what arrived is told in HTTP/1.1, h2c and TLS.
func TestHTTP(t *testing.T) {
	o := start(t, options{})
	for _, c := range []struct {
		url, proto, tls string
		h2              bool
	}{
		{"http://" + o.http, "HTTP/1.1", "", false},
		{"http://" + o.http, "HTTP/2.0", "", true},
		{"https://" + o.https, "HTTP/1.1", "without server name", false},
	} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPut, c.url+"/status/418?a=b", nil)
		req.Header.Set("X-A", "b")
		req.Header.Set(report.Header, "URI=spiffe://a/ns/b/sa/c")
		res, err := client(c.h2).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		a := decode(t, res)
		if res.StatusCode != 418 || a.Protocol != c.proto || a.TLS != c.tls || a.Method != "PUT" ||
			a.Path != "/status/418?a=b" || a.Headers["X-A"][0] != "b" || a.Caller != "spiffe://a/ns/b/sa/c" {
			t.Errorf("%s: %d %+v", c.url, res.StatusCode, a)
		}
	}
}

// TestCertificate: HTTPS with the certificate of a folder, and no server where it holds none.
func TestCertificate(t *testing.T) {
	cert, err := selfSigned()
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	for name, block := range map[string]pem.Block{"tls.crt": {Type: "CERTIFICATE", Bytes: cert.Certificate[0]}, "tls.key": {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(filepath.Join(folder, name), pem.EncodeToMemory(&block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := start(t, options{certificate: folder})
	conn, err := tls.Dial("tcp", o.https, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // compared below
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := conn.ConnectionState().PeerCertificates[0].Raw; !bytes.Equal(got, cert.Certificate[0]) {
		t.Error("another certificate was shown")
	}
	if _, err := httpsServer(nil, nil, 0, t.TempDir()); err == nil {
		t.Error("a server came up without a certificate")
	}
}

// TestBodies: lengths, trailers, uploads, streams and delays.
func TestBodies(t *testing.T) {
	o := start(t, options{})
	base := "http://" + o.http
	c := client(false)

	res, err := c.Get(base + "/bytes/100000")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, res.Body); n != 100000 || err != nil {
		t.Error(n, err)
	}

	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/upload", bytes.NewReader(make([]byte, 70000)))
	req.Header.Set("Expect", "100-continue")
	if res, err = c.Do(req); err != nil {
		t.Fatal(err)
	}
	if a := decode(t, res); a.BodyBytes != 70000 || a.Headers["Expect"][0] != "100-continue" {
		t.Errorf("%+v", a)
	}

	if res, err = c.Get(base + "/trailers"); err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadAll(res.Body)
	if res.Trailer.Get("X-Echo-Trailer") == "" {
		t.Error("no trailer")
	}

	if res, err = c.Get(base + "/stream?count=3&every=1ms"); err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	if strings.Count(string(body), "\n") != 3 {
		t.Errorf("%s", body)
	}

	began := time.Now()
	if res, err = c.Get(base + "/delay/80ms"); err != nil {
		t.Fatal(err)
	}
	if decode(t, res); time.Since(began) < 80*time.Millisecond {
		t.Error("too early")
	}
	for _, bad := range []string{"/status/1", "/status/x", "/delay/x", "/bytes/-1"} {
		if res, err = c.Get(base + bad); err != nil || res.StatusCode != 400 {
			t.Error(bad, res, err)
		}
	}
	for range 2 {
		if _, err = c.Get(base + "/hit/a"); err != nil {
			t.Fatal(err)
		}
	}
	if res, err = c.Get(base + "/hits"); err != nil {
		t.Fatal(err)
	}
	if body, _ = io.ReadAll(res.Body); string(body) != "{\"a\":2}\n" {
		t.Errorf("%s", body)
	}
}

// TestOthers: WebSocket, gRPC, TCP and the port that speaks first.
func TestOthers(t *testing.T) {
	o := start(t, options{})
	ws, err := websocket.Dial("ws://"+o.http+"/ws", "", "http://"+o.http)
	if err != nil {
		t.Fatal(err)
	}
	var back string
	if err := websocket.Message.Send(ws, "hello"); err != nil {
		t.Fatal(err)
	}
	if err := websocket.Message.Receive(ws, &back); err != nil || back != "hello" {
		t.Error(back, err)
	}
	ws.Close()

	conn, err := grpc.NewClient(o.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, method := range []string{"/echo.Echo/Call", "/any.Service/Method"} {
		if r, err := report.Invoke(t.Context(), conn, method); err != nil || r.Service != "echo" {
			t.Error(method, r, err)
		}
	}

	for address, first := range map[string]string{o.tcp: "", o.banner: "220 echo v1 "} {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(c)
		if first != "" {
			if line, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(line, first) {
				t.Error(line, err)
			}
		}
		if _, err := io.WriteString(c, "ping\n"); err != nil {
			t.Fatal(err)
		}
		if line, err := in.ReadString('\n'); err != nil || line != "ping\n" {
			t.Error(line, err)
		}
		c.Close()
	}
}

// TestBadManners: not ready at first, and idle connections are cut.
func TestBadManners(t *testing.T) {
	o := start(t, options{readyAfter: 300 * time.Millisecond, idleTimeout: 50 * time.Millisecond})
	c := client(false)
	res, err := c.Get("http://" + o.http + "/healthz")
	if err != nil || res.StatusCode != http.StatusServiceUnavailable {
		t.Error(res, err)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if res, err = c.Get("http://" + o.http + "/healthz"); err == nil && res.StatusCode == http.StatusOK {
			break
		}
		if time.Now().After(end) {
			t.Fatal("never ready")
		}
	}

	raw, err := net.Dial("tcp", o.http)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if _, err := io.WriteString(raw, "GET /status/204 HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := raw.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(raw); err != nil || !bytes.HasPrefix(got, []byte("HTTP/1.1 204")) {
		t.Errorf("%q, %v", got, err)
	}
}

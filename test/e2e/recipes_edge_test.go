// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"tulle.dev/tulle/internal/testing/cluster"
	"tulle.dev/tulle/test/apps/report"
)

// httpsAtTheEdge: plain HTTP is sent on to HTTPS, which shows the Secret's certificate, and another one
// as soon as that is renewed.
func httpsAtTheEdge(t *testing.T, s shop, r recipe) {
	s.apply(t, r)
	browser := s.authority.client(gatewayAddress(t, s.c, s.ns, "shop"))
	steadily(t, "HTTP is sent on to HTTPS", func() error {
		res, err := browser.Get("http://shop.example.com/cart?x=1")
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if to := res.Header.Get("Location"); res.StatusCode != http.StatusMovedPermanently || to != "https://shop.example.com/cart?x=1" {
			return fmt.Errorf("%s, Location %q", res.Status, to)
		}
		return nil
	})
	steadily(t, "HTTPS is answered", func() error {
		a, err := browse(browser, "https://shop.example.com/cart?x=1")
		if err == nil && (a.Service != "frontend" || a.Path != "/cart?x=1") {
			err = fmt.Errorf("%+v", a)
		}
		return err
	})
	// Whoever trusts another authority alone is not served by this certificate.
	if _, err := browse(newAuthority(t).client(gatewayAddress(t, s.c, s.ns, "shop")), "https://shop.example.com/"); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("who does not trust the certificate: %v", err)
	}
	other := newAuthority(t)
	s.c.MustApply(t, secret(s.ns, "shop-tls", other.issue(t, "shop.example.com", day)))
	browser = other.client(gatewayAddress(t, s.c, s.ns, "shop"))
	steadily(t, "the renewed certificate is shown", func() error {
		_, err := browse(browser, "https://shop.example.com/")
		return err
	})
}

// seen is what an echo app says of a request.
type seen struct {
	report.Report
	Path, Host, TLS string
}

// browse reads the answer of an echo app.
func browse(browser *http.Client, url string) (a seen, err error) {
	res, err := browser.Get(url)
	if err != nil {
		return a, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return a, err
	}
	if res.StatusCode != http.StatusOK {
		return a, fmt.Errorf("%s: %s", res.Status, text)
	}
	return a, json.Unmarshal(text, &a)
}

// steadily waits until something holds ten times in a row: what the cluster's own proxy does about a
// Service with new endpoints is not Tulle's to know.
func steadily(t *testing.T, what string, f func() error) {
	t.Helper()
	cluster.Eventually(t, 30*time.Second, what, func() error {
		for range 10 {
			if err := f(); err != nil {
				return err
			}
		}
		return nil
	})
}

// tlsPassedThrough: the client talks TLS with the backend itself, by the server name alone.
func tlsPassedThrough(t *testing.T, s shop, r recipe) {
	s.apply(t, r)
	browser := s.authority.client(gatewayAddress(t, s.c, s.ns, "vault"))
	steadily(t, "the backend's own TLS is answered", func() error {
		a, err := browse(browser, "https://vault.example.com/")
		if err == nil && (a.Service != "vault" || a.TLS != "vault.example.com") {
			err = fmt.Errorf("%+v", a)
		}
		return err
	})
	if a, err := browse(browser, "https://other.example.com/"); err == nil || strings.Contains(err.Error(), "certificate") {
		t.Errorf("another server name reached %+v, %v", a, err)
	}
}

// grpcByMethod: the method decides, and calls over one connection are spread over pods.
func grpcByMethod(t *testing.T, s shop, r recipe) {
	s.apply(t, r)
	calls := func(method string, n int) *cluster.Run {
		return s.c.Load(t, s.ns, true, "-url", "grpc://ledger:9090/bank.Ledger/"+method, "-count", fmt.Sprint(n), "-workers", "1")
	}
	post, list := calls("Post", 50), calls("List", 400)
	sum := post.Wait(t, 2*time.Minute)
	noFailure(t, sum, 50)
	if sum.Versions["app"]["v2"] != 50 {
		t.Errorf("Post was answered by %v, want v2", sum.Versions)
	}
	sum = list.Wait(t, 2*time.Minute)
	noFailure(t, sum, 400)
	// Service ledger-v1 has a pod of app and one of frontend.
	if sum.Versions["app"]["v2"] > 0 {
		t.Errorf("List was answered by %v, want v1", sum.Versions)
	}
	chiSquared(t, map[string]int{"app": sum.Versions["app"]["v1"], "frontend": sum.Versions["frontend"]["v1"]}, map[string]float64{"app": 0.5, "frontend": 0.5})
}

// tcpByWeight: bytes come through both ways, and of two backends each has its share of connections.
func tcpByWeight(t *testing.T, s shop, r recipe) {
	s.apply(t, r)
	addr := net.JoinHostPort(gatewayAddress(t, s.c, s.ns, "data"), "5432")
	steadily(t, "bytes come through", func() error {
		version, err := knock(addr)
		if err == nil && version != "v1" {
			err = fmt.Errorf("by %q", version)
		}
		return err
	})
	s.apply(t, r, "{name: postgres, port: 5432}", "{name: postgres, port: 5432, weight: 3}, {name: postgres-next, port: 5432, weight: 1}")
	got := map[string]int{}
	for range 400 {
		version, err := knock(addr)
		if err != nil {
			t.Fatal(err)
		}
		got[version]++
	}
	chiSquared(t, got, map[string]float64{"v1": 0.75, "v2": 0.25})
}

// knock reads the greeting of an echo app, has a line back from it, and returns its version.
func knock(addr string) (version string, err error) {
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return "", err
	}
	in := bufio.NewReader(conn)
	var service, pod string
	if _, err := fmt.Fscanf(in, "220 %s %s %s\n", &service, &version, &pod); err != nil {
		return "", fmt.Errorf("read the greeting: %w", err)
	}
	if _, err := io.WriteString(conn, "select 1\n"); err != nil {
		return "", err
	}
	line, err := in.ReadString('\n')
	if err == nil && line != "select 1\n" {
		err = fmt.Errorf("back came %q", line)
	}
	return version, err
}

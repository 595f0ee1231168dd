// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/model"
)

// TestOtherListeners: a Gateway's listeners come, change and go, and connections of the others live on
// longer than anything that drains.
func TestOtherListeners(t *testing.T) {
	m := newMesh(t)
	apps := m.wire.plug(t, "198.18.9.20", false)
	serve(t, apps.listen(t, ":8080"), "web")
	ns := m.wire.plug(t, "198.18.9.3", false)
	if err := ns.in(func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_unprivileged_port_start", []byte("0"), 0) }); err != nil {
		t.Fatal(err)
	}
	web := service{name: "web", protocol: model.HTTP, transport: model.Plain, endpoints: []model.Endpoint{plain("198.18.9.20", 8080)}}
	key := model.Key{Namespace: "shop", Name: "public"}
	one, two := m.pki.leaf(t, "", "a.example.com"), m.pki.leaf(t, "", "b.example.com")
	section := func(name, certificate string) model.GatewaySection {
		return model.GatewaySection{
			Name: name, Hostname: name + ".example.com", Table: "gw/shop/public/443/" + name,
			Certificates: []model.Key{{Namespace: "shop", Name: certificate}},
		}
	}
	certificate := func(name string, l leaf) envoy.Resource {
		return envoy.TLSSecret(key, model.TLSSecret{Key: model.Key{Namespace: "shop", Name: name}, Certificate: l.chain, PrivateKey: model.Redacted(l.key)})
	}
	table := func(name string) envoy.Resource {
		return envoy.Routes(model.RouteTable{Name: name, Hosts: []model.VirtualHost{{Domains: []string{"*"}, Rules: []model.Rule{{Backends: []model.WeightedBackend{web.to(1)}}}}}})
	}
	port := func(n uint16) []envoy.Resource {
		name := fmt.Sprintf("gw/shop/public/%d", n)
		return []envoy.Resource{envoy.GatewayListener(model.GatewayPort{Gateway: key, Port: n, Sections: []model.GatewaySection{{Name: "http", Table: name}}}), table(name)}
	}
	secure := func(sections ...model.GatewaySection) []envoy.Resource {
		out := []envoy.Resource{envoy.GatewayListener(model.GatewayPort{Gateway: key, Port: 443, TLS: true, Sections: sections})}
		for _, s := range sections {
			out = append(out, table(s.Table))
		}
		return out
	}
	always := concat(envoy.Common(model.Settings{}), web.backend(m), []envoy.Resource{certificate("one", one), certificate("two", two)})
	startProxy(t, m.bin, ns, m.ads, "gateway", concat(always, port(80), port(8080), secure(section("a", "one"), section("b", "one"))))

	from := m.wire.plug(t, "198.18.9.30", false)
	open := func(name string) *kept {
		c, _ := dialFrom(t, from, "198.18.9.3:443")
		return keep(t, tls.Client(c, &tls.Config{ServerName: name, InsecureSkipVerify: true}), name) //nolint:gosec // whose certificate it is does not matter here
	}
	c, _ := dialFrom(t, from, "198.18.9.3:80")
	a, b, http80 := open("a.example.com"), open("b.example.com"), keep(t, c, "plain")
	for _, k := range []*kept{a, b, http80} {
		if err := k.ask("/"); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error, 1)
	stream := open("a.example.com")
	go func() { done <- stream.ask("/slow?sleep=8s") }()

	// Listener b gets another certificate, c comes, port 8080 goes, 8443 comes; then b and c go.
	// Envoy takes such changes in place, without showing the new version: so c itself is asked.
	m.ads.set(t, "gateway", concat(always, port(80), port(8443), secure(section("a", "one"), section("b", "two"), section("c", "two"))))
	eventually(t, 20*time.Second, func() error { return open("c.example.com").ask("/") })
	time.Sleep(3 * time.Second) // the time to drain is 2 s
	if err := b.ask("/"); err == nil {
		t.Error("the connection of the listener that has changed is as it was: does this see draining at all?")
	}
	m.ads.set(t, "gateway", concat(always, port(80), secure(section("a", "one"))))
	eventually(t, 20*time.Second, func() error {
		if open("c.example.com").ask("/") == nil {
			return errors.New("listener c still serves")
		}
		return nil
	})
	time.Sleep(3 * time.Second)
	for _, k := range []*kept{a, http80} {
		if err := k.ask("/"); err != nil {
			t.Errorf("%s: %v", k.host, err)
		}
	}
	if err := <-done; err != nil {
		t.Errorf("the request that was on its way: %v", err)
	}
}

// kept is a connection with requests one after the other.
type kept struct {
	net.Conn
	host string
	in   *bufio.Reader
}

func keep(t *testing.T, c net.Conn, host string) *kept {
	t.Helper()
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	return &kept{c, host, bufio.NewReader(c)}
}

// ask sends a request; an answer other than 200, or that closes, is an error.
func (k *kept) ask(path string) error {
	if _, err := fmt.Fprintf(k, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, k.host); err != nil {
		return err
	}
	resp, err := http.ReadResponse(k.in, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || resp.Close {
		return fmt.Errorf("status %d, close: %v", resp.StatusCode, resp.Close)
	}
	return nil
}

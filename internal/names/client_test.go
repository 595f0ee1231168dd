// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package names

import "testing"

// TestTarget: the forms in which a program may call a Service port, and what is none.
func TestTarget(t *testing.T) {
	want := Out{Namespace: "shop", Service: "web", Port: 80}
	for host, ok := range map[string]bool{
		"web.shop:80":                       true,
		"web.shop.svc:80":                   true,
		"web.shop.svc.cluster.local:80":     true,
		"web.shop":                          false,
		"web:80":                            false,
		".shop:80":                          false,
		"web.:80":                           false,
		"web.shop.example.com:80":           false,
		"web.shop.svc.other.domain:80":      false,
		"web.shop:0":                        false,
		"web.shop:080":                      false, // one name for one thing
		"web.shop:65536":                    false,
		"web.shop:http":                     false,
		"web.shop:80:81":                    false,
		"":                                  false,
		"a.web.shop.svc.cluster.local:80":   false,
		"web.shop.svc.cluster.local.svc:80": false,
	} {
		target := Target{Namespace: "bank", Node: "n1", Host: host}
		got, is := target.Service()
		if is != ok || ok && got != want {
			t.Errorf("%q: %+v, %v", host, got, is)
		}
		if back, err := ParseTarget(target.String()); err != nil || back != target {
			t.Errorf("%q: read back as %+v, %v", target, back, err)
		}
	}
	for _, name := range []string{"", "target", "target/a/b", "target/a/b/c/d", "out/a/b/80"} {
		if got, err := ParseTarget(name); err == nil {
			t.Errorf("%q is %+v", name, got)
		}
	}
	if !IsClient(Target{}.String()) || !IsClient(Client(want.String())) || IsClient(want.String()) || Client(want.String()) != "client/shop/web/80" {
		t.Error("names of clients are not told from others")
	}
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package names

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
)

// TestPlainGatewayNames: Gateways that release 0.2.0 could serve keep the names of their objects.
func TestPlainGatewayNames(t *testing.T) {
	for _, gw := range []string{"a", "web", "edge-1", strings.Repeat("a", 57)} {
		if GatewayResource(gw) != gw+"-tulle" || GatewayService(gw) != gw+"-tulle" || GatewayLabel(gw) != gw {
			t.Errorf("%s: %s, %s, %s", gw, GatewayResource(gw), GatewayService(gw), GatewayLabel(gw))
		}
	}
	if got := GatewayResource("1edge"); got != "1edge-tulle" {
		t.Error(got)
	}
}

// TestGatewayNamesFit: whatever name a Gateway may have (RFC 1123, a DNS subdomain), the names and the
// label made from it keep to their own rules, and no two Gateways share them.
func TestGatewayNamesFit(t *testing.T) {
	label := regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)            // RFC 1123
	service := regexp.MustCompile(`^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$`)             // RFC 1035
	value := regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$`) // of a label
	list := []string{
		"edge.example", "1edge", "1", "9.9", "a-gateway-whose-name-is-as-long-as-some-charts-make-them-by-joining",
		strings.Repeat("a", 58), strings.Repeat("a", 63), strings.Repeat("a", 64), strings.Repeat("a.", 126) + "a", strings.Repeat("1", 253),
		strings.Repeat("a", 47) + "-" + strings.Repeat("b", 20), strings.Repeat("a", 53) + "." + strings.Repeat("b", 20), "a-b", "a.b",
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		b := []byte{"az09"[r.IntN(4)]}
		for range r.IntN(120) {
			c := "abc019--."[r.IntN(9)]
			if last := b[len(b)-1]; last == '.' && (c == '.' || c == '-') || last == '-' && c == '.' {
				c = 'x'
			}
			b = append(b, c)
		}
		list = append(list, string(append(b, 'z')))
	}
	resources, services, labels := map[string]string{}, map[string]string{}, map[string]string{}
	for _, gw := range list {
		if got := GatewayResource(gw); !label.MatchString(got) || resources[got] != "" && resources[got] != gw {
			t.Errorf("resource of %q: %q, also of %q", gw, got, resources[got])
		}
		if got := GatewayService(gw); !service.MatchString(got) || services[got] != "" && services[got] != gw {
			t.Errorf("service of %q: %q, also of %q", gw, got, services[got])
		}
		if got := GatewayLabel(gw); !value.MatchString(got) || labels[got] != "" && labels[got] != gw {
			t.Errorf("label of %q: %q, also of %q", gw, got, labels[got])
		}
		resources[GatewayResource(gw)], services[GatewayService(gw)], labels[GatewayLabel(gw)] = gw, gw, gw
	}
}

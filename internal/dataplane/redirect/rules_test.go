// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package redirect

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRules(t *testing.T) {
	c, err := Parse("8125, 9000", "3306", "192.0.2.7/24,2001:db8::1")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range Rules(c) {
		if r.Why == "" {
			t.Errorf("%s has no reason", r)
		}
		got = append(got, r.String())
	}
	want := strings.Split(strings.TrimSpace(`
output: skuid 1337 oif lo saddr 127.0.0.6/32 accept
output: skuid 1337 oif lo saddr ::1/128 accept
output: skuid 1337 oif lo daddr 127.0.0.0/8 accept
output: skuid 1337 oif lo daddr ::1/128 accept
output: skuid 1337 oif lo redirect to :15006
output: skuid 1337 accept
output: daddr 127.0.0.0/8 accept
output: daddr ::1/128 accept
output: dport 3306 accept
output: daddr 192.0.2.0/24 accept
output: daddr 2001:db8::1/128 accept
output: redirect to :15001
prerouting: iif lo accept
prerouting: dport 15020 accept
prerouting: dport 15021 accept
prerouting: dport 8125 accept
prerouting: dport 9000 accept
prerouting: fib daddr type local redirect to :15006`), "\n")
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("rules (-want +got):\n%s", d)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ in, out, ips, say string }{
		{in: "http", say: `exclude-inbound-ports: "http" is not a port`},
		{in: "0", say: `exclude-inbound-ports: "0" is not a port`},
		{out: "65536", say: `exclude-outbound-ports: "65536" is not a port`},
		{out: "-1", say: `exclude-outbound-ports: "-1" is not a port`},
		{ips: "10.0.0.0/33", say: `exclude-outbound-ips: "10.0.0.0/33" is neither`},
		{ips: "fe80::1%eth0", say: `exclude-outbound-ips: "fe80::1%eth0" is neither`},
		{ips: "example.com", say: `exclude-outbound-ips: "example.com" is neither`},
	} {
		_, err := Parse(c.in, c.out, c.ips)
		if err == nil || !strings.Contains(err.Error(), c.say) {
			t.Errorf("Parse(%q, %q, %q) = %v, want an error with %q", c.in, c.out, c.ips, err, c.say)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package redirect

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Config is what the author of a pod keeps out of the mesh. The zero value redirects everything.
type Config struct {
	// ExcludeInboundPorts reach the application without the proxy.
	ExcludeInboundPorts []uint16
	// ExcludeOutboundPorts and ExcludeOutboundNets are left without the proxy.
	ExcludeOutboundPorts []uint16
	ExcludeOutboundNets  []netip.Prefix
}

// Parse reads the comma-separated forms of the pod annotations names.AnnotationExclude...; empty means none.
func Parse(inboundPorts, outboundPorts, outboundIPs string) (Config, error) {
	var c Config
	var err error
	if c.ExcludeInboundPorts, err = ports(inboundPorts); err != nil {
		return Config{}, fmt.Errorf("exclude-inbound-ports: %w", err)
	}
	if c.ExcludeOutboundPorts, err = ports(outboundPorts); err != nil {
		return Config{}, fmt.Errorf("exclude-outbound-ports: %w", err)
	}
	for _, f := range fields(outboundIPs) {
		p, err := netip.ParsePrefix(f)
		if err != nil {
			a, err := netip.ParseAddr(f)
			if err != nil || a.Zone() != "" {
				return Config{}, fmt.Errorf("exclude-outbound-ips: %q is neither an address nor a network in CIDR form", f)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		c.ExcludeOutboundNets = append(c.ExcludeOutboundNets, p.Masked())
	}
	return c, nil
}

func ports(list string) ([]uint16, error) {
	var out []uint16
	for _, f := range fields(list) {
		n, err := strconv.ParseUint(f, 10, 16)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("%q is not a port (1 to 65535)", f)
		}
		out = append(out, uint16(n))
	}
	return out, nil
}

// fields splits at commas and drops blanks.
func fields(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}

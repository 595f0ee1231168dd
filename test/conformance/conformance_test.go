// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package conformance

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/gateway-api/conformance"
	confv1 "sigs.k8s.io/gateway-api/conformance/apis/v1"
	"sigs.k8s.io/gateway-api/conformance/tests"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
	"sigs.k8s.io/gateway-api/pkg/features"
	"sigs.k8s.io/yaml"
)

// TestConformance runs the suite: all of it, or the tests that TEST (an expression for names) and
// FEATURE (names, one of which a test must have) choose. What is supported is read from the statuses
// of the GatewayClass and the XMesh: a test of a feature that is missing there is skipped, and that
// fails the stage. POOL is the range that load balancers get their addresses from, REPORT the file for
// the report.
func TestConformance(t *testing.T) {
	chosen, err := choose(tests.ConformanceTests, os.Getenv("TEST"), os.Getenv("FEATURE"))
	if err != nil {
		t.Fatal(err)
	}
	o := conformance.DefaultOptions(t)
	o.GatewayClassName, o.MeshName = "tulle", "tulle"
	o.ConformanceProfiles = []suite.ConformanceProfileName{
		suite.GatewayHTTPConformanceProfileName, suite.GatewayTLSConformanceProfileName, suite.GatewayTCPConformanceProfileName,
		suite.GatewayUDPConformanceProfileName, suite.GatewayGRPCConformanceProfileName,
		suite.MeshHTTPConformanceProfileName, suite.MeshGRPCConformanceProfileName,
	}
	o.Implementation = confv1.Implementation{
		Organization: "tulle", Project: "tulle", URL: "https://tulle.dev", Version: "v" + os.Getenv("VERSION"),
		Contact: []string{"https://tulle.dev/community"},
	}
	if o.UsableNetworkAddresses, o.UnusableNetworkAddresses, err = addresses(os.Getenv("POOL")); err != nil {
		t.Fatal(err)
	}
	s, err := suite.NewConformanceTestSuite(o)
	if err != nil {
		t.Fatal(err)
	}
	if file := os.Getenv("REPORT"); file != "" {
		t.Cleanup(func() { report(t, s, file) }) // before Setup and Run: it is to come after their own
	}
	s.Setup(t, chosen)
	if err := s.Run(t, chosen); err != nil {
		t.Fatal(err)
	}
}

// choose returns the tests in their order.
func choose(all []suite.ConformanceTest, names, having string) ([]suite.ConformanceTest, error) {
	name, err := regexp.Compile(names)
	if err != nil {
		return nil, fmt.Errorf("TEST is not an expression: %w", err)
	}
	var out []suite.ConformanceTest
	for _, t := range all {
		has := having == "" || slices.ContainsFunc(strings.Split(having, ","), func(f string) bool {
			return slices.Contains(t.Features, features.FeatureName(strings.TrimSpace(f)))
		})
		if has && name.MatchString(t.ShortName) {
			out = append(out, t)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("TEST=%q FEATURE=%q choose none of %d tests", names, having, len(all))
	}
	return out, nil
}

// addresses are one that a Gateway may ask for, from the end of the load balancers' range, and one
// that it may not, which is reserved for documentation (RFC 5737). Without a range there are none.
func addresses(pool string) (usable, unusable []gwapiv1.GatewaySpecAddress, err error) {
	if pool == "" {
		return nil, nil, nil
	}
	p, err := netip.ParsePrefix(pool)
	if err != nil || !p.Addr().Is4() {
		return nil, nil, fmt.Errorf("POOL=%s is not a range of IPv4 addresses", pool)
	}
	last := p.Masked().Addr().As4()
	binary.BigEndian.PutUint32(last[:], binary.BigEndian.Uint32(last[:])|^uint32(0)>>p.Bits()-2)
	kind := gwapiv1.IPAddressType
	return []gwapiv1.GatewaySpecAddress{{Type: &kind, Value: netip.AddrFrom4(last).String()}},
		[]gwapiv1.GatewaySpecAddress{{Type: &kind, Value: "203.0.113.1"}}, nil
}

func report(t *testing.T, s *suite.ConformanceTestSuite, file string) {
	r, err := s.Report()
	if err != nil {
		t.Errorf("no report: %v", err)
		return
	}
	text, err := yaml.Marshal(r)
	if err != nil {
		t.Errorf("no report: %v", err)
		return
	}
	if err := os.WriteFile(file, text, 0o644); err != nil { //nolint:gosec // a report is for everybody
		t.Errorf("no report: %v", err)
	}
}

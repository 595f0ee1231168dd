// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package check

import (
	"fmt"

	"tulle.dev/tulle/internal/cli/facts"
	"tulle.dev/tulle/internal/printable"
)

// Level of a finding.
type Level string

// Levels, from good to bad.
const (
	OK      Level = "ok"
	Notice  Level = "notice"  // works as it is meant to; good to know
	Unknown Level = "unknown" // could not be read
	Warning Level = "warning" // works, but look at it
	Problem Level = "problem" // does not work, or will not
)

// Finding is the outcome of one rule about one thing.
type Finding struct {
	Section string `json:"section"`
	Level   Level  `json:"level"`
	Message string `json:"message"`
	// Fix says what to do; empty where Level is OK.
	Fix string `json:"fix,omitempty"`
}

// Sections.
const (
	SectionCluster      = "Cluster"
	SectionCertManager  = "cert-manager"
	SectionGatewayAPI   = "Gateway API"
	SectionPermissions  = "Permissions"
	SectionMesh         = "Mesh"
	SectionControlPlane = "Control plane"
	SectionInjection    = "Injection"
	SectionProxies      = "Proxies"
	SectionPorts        = "Ports"
)

// rule is one question; it may have several findings or none.
type rule func(facts.Facts) []Finding

// fitness asks whether Tulle can be installed; health asks whether it works. The order is that
// of the output: what everything else hangs from comes first.
func fitness() []rule {
	return []rule{kubernetesVersion, kubelets, operatingSystems, gatewayKinds, certManagerKinds, certManagerRuns}
}

func health() []rule {
	return []rule{
		operatorRuns, fences, ephemeralContainers, oneMesh, meshConditions, rootExpiry, whoIssues, unwrittenRoots, sourceAddresses,
		controlPlaneRuns, webhookRoots, webhookEndpoints,
		podSecurity, bareProxies, leftInMesh, bypasses, asProxy, anyUser, openHooks, proxiesReady, proxiesUpToDate, proxiesConnected, rejections, plaintext,
		calledPorts, bytePorts, largeServices,
	}
}

// MeshKind is the CRD whose presence means that Tulle has been installed.
const MeshKind = "meshes.tulle.dev"

// All asks every question that makes sense: permissions only before an installation, health only after.
func All(f facts.Facts) []Finding {
	rules := fitness()
	if !installed(f) {
		rules = append(rules, permissions)
	}
	return append(ask(rules, f), Health(f)...)
}

// Health asks only whether what is installed works; nothing installed, nothing found.
func Health(f facts.Facts) []Finding {
	if !installed(f) {
		return nil
	}
	return ask(health(), f)
}

func installed(f facts.Facts) bool {
	_, kind := f.Kinds[MeshKind]
	return kind || len(f.Meshes) > 0
}

func ask(rules []rule, f facts.Facts) []Finding {
	var out []Finding
	for _, r := range rules {
		out = append(out, r(f)...)
	}
	return out
}

// Worst is the highest level among the findings.
func Worst(findings []Finding) Level {
	rank := map[Level]int{OK: 0, Notice: 1, Unknown: 2, Warning: 3, Problem: 4}
	worst := OK
	for _, f := range findings {
		if rank[f.Level] > rank[worst] {
			worst = f.Level
		}
	}
	return worst
}

func ok(section, format string, args ...any) []Finding {
	return []Finding{{Section: section, Level: OK, Message: printable.Line(fmt.Sprintf(format, args...))}}
}

func found(section string, level Level, message, fix string) []Finding {
	return []Finding{{Section: section, Level: level, Message: printable.Line(message), Fix: printable.Line(fix)}}
}

// unread is the finding of a rule that lacks its facts; done is false when it has them.
func unread(f facts.Facts, section, what string) (findings []Finding, done bool) {
	why, missed := f.Missed(what)
	if !missed {
		return nil, false
	}
	return found(section, Unknown, "could not read "+what+": "+why,
		"ask for the right to read them, or run the check as a cluster administrator"), true
}

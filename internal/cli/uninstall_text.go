// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cli

import (
	"fmt"
	"io"
	"strings"

	"tulle.dev/tulle/internal/cli/cluster"
	"tulle.dev/tulle/internal/cli/unmesh"
	"tulle.dev/tulle/internal/names"
)

// shownNames is how many names a line of a list has.
const shownNames = 5

func few(list []string) string {
	if len(list) <= shownNames {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:shownNames], ", "), len(list)-shownNames)
}

func printUnmesh(w io.Writer, p unmesh.Plan, s unmesh.Seen) {
	if len(p.Blockers) > 0 {
		fmt.Fprintln(w, "These depend on the mesh:")
		for _, b := range p.Blockers {
			printf(w, "  %s: %s\n", b.What, b.Do)
		}
		fmt.Fprintln(w)
	}
	printf(w, "The plan, for %d meshed pods:\n", len(s.Pods))
	n := 0
	step := func(format string, args ...any) {
		n++
		printf(w, "%3d. %s\n", n, fmt.Sprintf(format, args...))
	}
	if p.Permissive {
		step("permit plaintext (mtls.mode Permissive), or pods that are out of the mesh could not reach those in it")
	}
	for i, wave := range p.Waves {
		step("wave %d: restart without a proxy %s", i+1, refs(wave.Workloads))
	}
	if p.Mesh != "" {
		step("delete Mesh %s, and with it the control plane, gateways and certificates", p.Mesh)
	}
	if len(p.Namespaces) > 0 {
		step("no more proxies for new pods in %s", strings.Join(p.Namespaces, ", "))
	}
	step("show what is left")
	fmt.Fprintln(w)
}

func printRemains(w io.Writer, r cluster.Remains, system string) {
	fmt.Fprintln(w, "\nWhat is left, and what removes it:")
	if len(r.Pods) > 0 {
		printf(w, "  %d pods with a proxy that nobody looks after any more (%s): replace them before their certificates end\n", len(r.Pods), few(r.Pods))
	}
	if len(r.Operator) > 0 {
		command := "kubectl delete -k config/default"
		if system != names.SystemNamespace {
			command = "kubectl delete -k DIR, the kustomization that sets namespace: " + system
		}
		switch how, by, _ := strings.Cut(r.Installer, " "); how {
		case "helm":
			command = "helm uninstall -n " + system + " " + by
		case "olm":
			command = "kubectl -n " + system + " delete subscription -l operators.coreos.com/tulle." + system + " && kubectl -n " + system + " delete clusterserviceversion " + by
		}
		printf(w, "  the operator (%s): %s\n", strings.Join(r.Operator, ", "), command)
	}
	if r.Releases {
		printf(w, "  the list of releases: kubectl -n %s delete configmap tulle-releases\n", system)
	}
	if len(r.Definitions) > 0 {
		printf(w, "  the kinds: kubectl delete crd %s\n", strings.Join(r.Definitions, " "))
	}
	if len(r.Namespaces) > 0 {
		printf(w, "  labels of namespaces: kubectl label namespace %s tulle.dev/inject-\n", strings.Join(r.Namespaces, " "))
	}
	fmt.Fprintln(w, "  cert-manager and the Gateway API's kinds, if nobody else uses them")
}

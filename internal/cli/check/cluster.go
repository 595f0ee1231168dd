// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package check

import (
	"fmt"
	"slices"
	"strings"

	"tulle.dev/tulle/internal/cli/facts"
	"tulle.dev/tulle/internal/lifecycle/plan"
	"tulle.dev/tulle/internal/lifecycle/release"
)

// The versions Tulle needs; from 1.32 the kubelet restarts a sidecar whose image changed, which
// in-place upgrades are made of.
const (
	oldestMinor  = release.OldestMinor
	inPlaceMinor = 32
)

func kubernetesVersion(f facts.Facts) []Finding {
	switch v := f.Server; {
	case v.Before(1, oldestMinor):
		return found(SectionCluster, Problem, fmt.Sprintf("Kubernetes %s is too old: native sidecars need 1.%d", v.Text, oldestMinor),
			fmt.Sprintf("upgrade the cluster to 1.%d or later; 1.%d or later can upgrade proxies in place", oldestMinor, inPlaceMinor))
	case v.Before(1, inPlaceMinor):
		return found(SectionCluster, Warning, fmt.Sprintf("Kubernetes %s can't replace a proxy in a running pod", v.Text),
			fmt.Sprintf("upgrade the cluster to 1.%d or later, or expect that upgrading proxies restarts pods", inPlaceMinor))
	default:
		return ok(SectionCluster, "Kubernetes %s", v.Text)
	}
}

func kubelets(f facts.Facts) []Finding {
	if missed, done := unread(f, SectionCluster, facts.UnreadNodes); done {
		return missed
	}
	var tooOld, noInPlace []string
	for _, n := range f.Nodes {
		name := n.Name + " (" + n.Kubelet.Text + ")"
		switch {
		case n.Kubelet.Before(1, oldestMinor):
			tooOld = append(tooOld, name)
		case n.Kubelet.Before(1, inPlaceMinor) && !f.Server.Before(1, inPlaceMinor):
			noInPlace = append(noInPlace, name)
		}
	}
	var out []Finding
	if len(tooOld) > 0 {
		out = append(out, found(SectionCluster, Problem, "the kubelet is too old on "+few(tooOld),
			fmt.Sprintf("upgrade these nodes to 1.%d or later", oldestMinor))...)
	}
	if len(noInPlace) > 0 {
		out = append(out, found(SectionCluster, Warning, "the kubelet can't replace a proxy in a running pod on "+few(noInPlace),
			fmt.Sprintf("upgrade these nodes to 1.%d or later", inPlaceMinor))...)
	}
	if len(out) == 0 {
		return ok(SectionCluster, "%s", count(len(f.Nodes), "node has", "nodes have")+" a kubelet that can replace a proxy in a running pod")
	}
	return out
}

func operatingSystems(f facts.Facts) []Finding {
	var others []string
	for _, n := range f.Nodes {
		if n.OS != "linux" || n.Arch != "amd64" {
			others = append(others, n.Name+" ("+n.OS+"/"+n.Arch+")")
		}
	}
	if len(others) == 0 {
		return nil
	}
	return found(SectionCluster, Warning, "the proxy's image is for linux/amd64, and can't run on "+few(others),
		"keep meshed workloads off these nodes with a nodeSelector on kubernetes.io/os and kubernetes.io/arch")
}

// gatewayKinds asks for the kinds without which a mesh is of little use. Both channels have them; what only
// the experimental one has (XMesh) is used where it is installed, and is not missed.
func gatewayKinds(f facts.Facts) []Finding {
	if missed, done := unread(f, SectionGatewayAPI, facts.UnreadKinds); done {
		return missed
	}
	var absent []string
	bundle, channel := "", ""
	for _, need := range release.GatewayAPIKinds() {
		k, there := f.Kinds[need.Definition]
		if !there || !k.Established || !slices.Contains(k.Served, need.Version) {
			absent = append(absent, need.Definition+" "+need.Version)
			continue
		}
		bundle, channel = k.Bundle, k.Channel
	}
	if len(absent) > 0 {
		return found(SectionGatewayAPI, Problem, "not installed: "+few(absent), plan.InstallGatewayAPI)
	}
	if !release.SupportsGatewayAPI(bundle, channel) {
		return found(SectionGatewayAPI, Warning,
			fmt.Sprintf("release %s (%s channel) is installed; Tulle is tested with %s", orUnknown(bundle), orUnknown(channel), release.GatewayAPIVersions),
			plan.InstallGatewayAPI)
	}
	return ok(SectionGatewayAPI, "%s, %s channel", bundle, channel)
}

func certManagerKinds(f facts.Facts) []Finding {
	if _, missed := f.Missed(facts.UnreadKinds); missed {
		return nil // said once, by gatewayKinds
	}
	var absent []string
	for _, name := range []string{"certificates.cert-manager.io", "issuers.cert-manager.io", "clusterissuers.cert-manager.io"} {
		if k, there := f.Kinds[name]; !there || !k.Established {
			absent = append(absent, name)
		}
	}
	if len(absent) > 0 {
		return found(SectionCertManager, Problem, "not installed: "+few(absent), plan.InstallCertManager)
	}
	return nil
}

func certManagerRuns(f facts.Facts) []Finding {
	if missed, done := unread(f, SectionCertManager, facts.UnreadCertManager); done {
		return missed
	}
	if _, installed := f.Kinds["certificates.cert-manager.io"]; !installed {
		return nil
	}
	if len(f.CertManager) == 0 {
		return found(SectionCertManager, Warning, "no Deployment of cert-manager was found by its label app.kubernetes.io/name",
			"make sure that its controller, webhook and cainjector run: "+plan.InstallCertManager)
	}
	var down []string
	for _, w := range f.CertManager {
		if w.Ready < w.Wanted || w.Wanted == 0 {
			down = append(down, fmt.Sprintf("%s/%s (%d of %d ready)", w.Namespace, w.Name, w.Ready, w.Wanted))
		}
	}
	if len(down) > 0 {
		return found(SectionCertManager, Problem, "not running: "+few(down),
			"kubectl -n "+f.CertManager[0].Namespace+" get pods, and look at the logs of those that are not ready")
	}
	return ok(SectionCertManager, "%s ready", count(len(f.CertManager), "Deployment is", "Deployments are"))
}

func permissions(f facts.Facts) []Finding {
	if missed, done := unread(f, SectionPermissions, facts.UnreadRights); done {
		return missed
	}
	var denied []string
	for _, r := range f.Rights {
		if !r.Allowed {
			name := r.Resource
			if r.Group != "" {
				name += "." + r.Group
			}
			denied = append(denied, r.Verb+" "+name)
		}
	}
	if len(denied) > 0 {
		return found(SectionPermissions, Problem, "you may not "+few(denied), "let a cluster administrator install the operator")
	}
	return ok(SectionPermissions, "you may install the operator")
}

// few lists the first things and counts the rest, sorted, each once: "a, b, c and 4 more".
func few(list []string) string {
	const most = 3
	list = slices.Compact(slices.Sorted(slices.Values(list)))
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

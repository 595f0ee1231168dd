// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package parts

import (
	"fmt"
	"strings"
)

// Versions of the parts; they are shown to people and compiled into binaries
// that report a version. The modules' go.mod files decide what is really built,
// and a test holds both together.
const (
	KubernetesVersion  = "1.37.2"
	ContainerdVersion  = "2.3.7"
	RuncVersion        = "1.4.3"
	CNIVersion         = "1.9.1"
	CoreDNSVersion     = "1.14.7"
	CertManagerVersion = "1.21.2"
	GatewayAPIVersion  = "1.7.0"
)

// previousKubernetes is the release that --kubernetes=1.36 (K8S=1.36 for make) builds. It has a go.mod
// file of its own beside the other's, for the same program.
const (
	previousKubernetes       = "1.36.3"
	previousKubernetesModule = "v1.36.mod"
)

// A Part is one binary that is built from a Go module of this repository.
// The zero value is not usable; parts come from the table or are made for an
// image by their owner.
type Part struct {
	// Name is the binary's file name and the part's key in the table.
	Name string
	// Title is what progress lines call it.
	Title string
	// Dir is the module's (or, for a package of a larger module, the
	// package's module) folder, relative to the repository.
	Dir string
	// Package is the package to build, as `go build` wants it in Dir.
	Package string
	// ModFile is the file in Dir to build with instead of go.mod, with its sums beside it. If empty, it is go.mod.
	ModFile string
	// LDFlags are added to -s -w.
	LDFlags string
	// Tags are build tags, separated by commas.
	Tags string
	// Cgo builds with cgo, which needs a C compiler; all other parts are
	// static without one.
	Cgo bool
	// Debian lists the packages needed to build it.
	Debian []Debian
	// Local marks a package of a module that changes all the time (the
	// product itself): it is not kept in the cache but built every time,
	// which is quick because the Go build cache does the work.
	Local bool
}

// Node lists the parts that the node itself runs, the long builds first, with the release of Kubernetes
// of a minor version such as "1.36". If the minor version is empty, it is that of KubernetesVersion.
func Node(minor string) ([]Part, error) {
	k, err := kubernetes(minor)
	if err != nil {
		return nil, err
	}
	return []Part{
		k,
		runtimePart("containerd", "containerd "+ContainerdVersion, "github.com/containerd/containerd/v2/cmd/containerd"),
		runtimePart("containerd-shim-runc-v2", "containerd's shim", "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2"),
		runtimePart("ctr", "containerd's command line", "github.com/containerd/containerd/v2/cmd/ctr"),
		runc(),
		runtimePart("ptp", "CNI plugin ptp "+CNIVersion, "github.com/containernetworking/plugins/plugins/main/ptp"),
		runtimePart("host-local", "CNI plugin host-local "+CNIVersion, "github.com/containernetworking/plugins/plugins/ipam/host-local"),
		runtimePart("portmap", "CNI plugin portmap "+CNIVersion, "github.com/containernetworking/plugins/plugins/meta/portmap"),
	}, nil
}

// Pause is the program that holds a pod's namespaces open.
func Pause() Part {
	return Part{Name: "pause", Title: "pause", Dir: "hack/parts/pause", Package: "."}
}

// CoreDNS is the cluster's DNS server.
func CoreDNS() Part {
	return Part{Name: "coredns", Title: "CoreDNS " + CoreDNSVersion, Dir: "hack/parts/dns", Package: "."}
}

// CertManager is cert-manager's controller, webhook and cainjector in one.
func CertManager() Part {
	return Part{Name: "cert-manager", Title: "cert-manager " + CertManagerVersion, Dir: "hack/parts/certmanager", Package: "."}
}

func kubernetes(minor string) (Part, error) {
	v, file := KubernetesVersion, ""
	switch minor {
	case "", minorOf(KubernetesVersion):
	case minorOf(previousKubernetes):
		v, file = previousKubernetes, previousKubernetesModule
	default:
		return Part{}, fmt.Errorf("version %s of Kubernetes is not supported: choose %s or %s", minor, minorOf(KubernetesVersion), minorOf(previousKubernetes))
	}
	const base, client = "k8s.io/component-base/version.", "k8s.io/client-go/pkg/version."
	return Part{
		Name: "kk", Title: "kubernetes " + v, Dir: "hack/parts/kube", Package: ".", ModFile: file,
		// Without these the API server calls itself v0.0.0-master, and
		// everything that looks at the version (feature checks, preflights)
		// decides wrongly.
		LDFlags: "-X " + base + "gitVersion=v" + v + " -X " + base + "gitMajor=1 -X " + base + "gitMinor=" + strings.TrimPrefix(minorOf(v), "1.") +
			" -X " + base + "gitTreeState=clean -X " + client + "gitVersion=v" + v,
	}, nil
}

// minorOf returns "1.36" for "1.36.3".
func minorOf(version string) string { return version[:strings.LastIndex(version, ".")] }

func runtimePart(name, title, pkg string) Part {
	return Part{Name: name, Title: title, Dir: "hack/parts/runtime", Package: pkg}
}

// runc enters namespaces from C before the Go runtime starts, and filters
// system calls with libseccomp: without that library every pod that asks for
// the RuntimeDefault profile fails.
func runc() Part {
	p := runtimePart("runc", "runc "+RuncVersion, "github.com/opencontainers/runc")
	p.Cgo = true
	p.Tags = "seccomp,netgo,osusergo"
	p.LDFlags = "-extldflags -static -X main.version=" + RuncVersion
	p.Debian = []Debian{
		{Package: "gcc", Program: "gcc"},
		{Package: "libc6-dev", File: "/usr/include/stdlib.h"},
		{Package: "pkg-config", Program: "pkg-config"},
		{Package: "libseccomp-dev", File: "/usr/include/seccomp.h"},
	}
	return p
}

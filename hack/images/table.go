// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"strings"

	"tulle.dev/tulle/hack/internal/parts"
)

// image is one line of the table.
type image struct {
	// name is the image's name below tulle.local/, or the last part of repository.
	name string
	// repository is where others expect the image; empty: tulle.local/.
	repository string
	// about says in a few words what it is.
	about string
	// user is the uid and gid it runs as; never root, but for others' images that need it.
	user int
	// envoy adds Envoy and the C library's files that it needs.
	envoy bool
	// programs are its binaries; the first is the entrypoint.
	programs []program
}

// program is a static Go binary of an image.
type program struct {
	// path is where it is in the image.
	path string
	// module is the folder of its module, relative to the repository.
	module string
	// pkg is its package, relative to the module's folder.
	pkg string
}

const (
	nonroot   = 65532
	proxyUser = 1337 // the redirection lets this user's traffic through
)

func table() []image {
	app := func(name, about string) image {
		return image{name: name, about: about, user: nonroot, programs: []program{{name, ".", "./test/apps/" + name}}}
	}
	return []image{
		{
			name: "tulle", about: "the manager: operator and control plane", user: nonroot,
			programs: []program{{"tulle", ".", "."}},
		},
		{
			name: "tulle-proxy", about: "slot, agent, init and Envoy", user: proxyUser, envoy: true,
			programs: []program{{"tulle-slot", ".", "./cmd/tulle-slot"}, {"tulle-proxy", ".", "./cmd/tulle-proxy"}},
		},
		app("shop", "the sample shop"),
		{
			name: "echo", about: "a server that answers with what it got, and one-off exchanges from its pod, for tests", user: nonroot,
			programs: []program{{"echo", ".", "./test/apps/echo"}, {"dial", ".", "./test/apps/dial"}},
		},
		app("load", "a bounded load client"),
		app("poll", "asks every few milliseconds and tells when the answer changes, for benchmarks"),
		app("capture", "looks for bytes in packets, for tests"),
		app("intruder", "a meshed pod that asks for what is not its own, for tests"),
		app("proxyless", "a program without a proxy whose gRPC library asks the control plane, for tests"),
	}
}

// others are the images that manifests of others name, by the last part of the name.
func others() []image {
	return []image{
		{
			name: "echo-basic", about: "the conformance suite's backend", user: nonroot,
			programs: []program{{"echo-basic", "test/conformance", "sigs.k8s.io/gateway-api-conformance-images/echo-basic"}},
		},
		{
			name: "echo-advanced", about: "the conformance suite's client and server in the mesh", user: nonroot,
			programs: []program{{"server", ".", "./test/apps/advanced/server"}, {"usr/local/bin/client", ".", "./test/apps/advanced/client"}},
		},
	}
}

func find(name string) (image, bool) {
	for _, i := range table() {
		if i.name == name {
			return i, true
		}
	}
	return image{}, false
}

func allNames() []string {
	var names []string
	for _, i := range table() {
		names = append(names, i.name)
	}
	return names
}

// part is the program of a release as something to build. Versions are stamped into main.version
// and main.envoyVersion, which a program need not have. Each release's programs are kept apart, so
// that going to and fro links nothing twice.
func (p program) part(version string, r release) parts.Part {
	name := strings.ReplaceAll(p.path, "/", "-")
	if r.version != currentRelease().version {
		name += "-" + r.version
	}
	return parts.Part{
		Name: name, Title: p.path, Dir: p.module, Package: p.pkg,
		LDFlags: "-X main.version=" + version + " -X main.envoyVersion=" + r.envoy.version, Local: true,
	}
}

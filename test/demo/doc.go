// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Command demo shows what Tulle does, on a cluster that is already up and has
// cert-manager, the Gateway API and the images: it installs the operator and
// a mesh, deploys the sample shop, sends traffic through a Gateway and between
// pods, moves an HTTPRoute from 90/10 to 50/50 while the traffic runs, and
// tells what it measured. With -upgrade it upgrades the mesh while the traffic
// runs, instead of the split.
//
// It reads KUBECONFIG, runs kubectl ($KUBECTL, which may be several words) for
// everything that changes the cluster, and exits with 1 when a request failed,
// the split is not what was asked for, or a server did not see its caller's
// identity; after an upgrade also when an application could have noticed it.
//
// Files: main.go (steps in order), kube.go (kubectl, waiting), traffic.go
// (streams of requests), verdict.go (pure: numbers to findings), upgrade.go
// (the upgrade's steps), view.go (pure: the Mesh's status to lines and
// findings), say.go (output).
package main

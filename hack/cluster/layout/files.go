// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package layout

import "path/filepath"

// Path joins parts to the state folder.
func (l Layout) Path(parts ...string) string {
	return filepath.Join(append([]string{l.State}, parts...)...)
}

// PKI is the folder of certificates, keys and components' kubeconfigs.
func (l Layout) PKI() string { return l.Path("pki") }

// Kubeconfig is the administrator's kubeconfig; it contains its certificates,
// so it may be copied.
func (l Layout) Kubeconfig() string { return l.Path("kubeconfig") }

// Bin is the folder of links to the components' binaries, under the names they
// look for each other by.
func (l Layout) Bin() string { return l.Path("bin") }

// Etc is the folder of rendered configuration.
func (l Layout) Etc() string { return l.Path("etc") }

// Log is the log file of a component.
func (l Layout) Log(component string) string { return l.Path("log", component+".log") }

// ContainerdSocket is in the state folder, not in /run, because the node has a
// /run of its own while sockets in the state folder work from both sides.
func (l Layout) ContainerdSocket() string { return l.Path("containerd.sock") }

// ClusterFile records what the cluster was made with and its first process.
func (l Layout) ClusterFile() string { return l.Path("cluster.json") }

// NodeFile is the node's own report of its components.
func (l Layout) NodeFile() string { return l.Path("node.json") }

// LockFile is held by whoever changes the cluster.
func (l Layout) LockFile() string { return l.State + ".lock" }

// Owned lists the names in the state folder that belong to the cluster and go
// away with it; anything else in that folder is somebody else's and stays.
func (l Layout) Owned() []string {
	return []string{
		"pki", "kubeconfig", "bin", "etc", "log", "containerd", "containerd.sock", "containerd.sock.ttrpc",
		"cluster.json", "node.json", "etcd", "kubelet", "kubelet-pki", "podlogs", "addons", "resolv.conf",
	}
}

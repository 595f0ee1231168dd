// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pki

import (
	"encoding/base64"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"tulle.dev/tulle/hack/cluster/layout"
)

// Ensure makes the cluster's PKI folder and kubeconfigs unless they are there.
// The folder appears by one rename, so a half-made set is never taken for a
// whole one.
func Ensure(l layout.Layout, now time.Time) error {
	if _, err := os.Stat(l.PKI()); err == nil {
		return WriteAdminKubeconfig(l)
	}
	tmp := l.PKI() + ".new"
	if err := os.RemoveAll(tmp); err != nil {
		return fmt.Errorf("clear %s: %w", tmp, err)
	}
	if err := os.MkdirAll(tmp, 0o700); err != nil {
		return fmt.Errorf("make PKI folder: %w", err)
	}
	if err := fill(l, tmp, now); err != nil {
		return err
	}
	if err := os.Rename(tmp, l.PKI()); err != nil {
		return fmt.Errorf("keep PKI folder: %w", err)
	}
	return WriteAdminKubeconfig(l)
}

func fill(l layout.Layout, dir string, now time.Time) error {
	for name, leaves := range plan(l) {
		a, err := newAuthority(dir, name, now)
		if err != nil {
			return err
		}
		for _, leaf := range leaves {
			if err := a.issue(dir, leaf, now); err != nil {
				return err
			}
		}
	}
	if err := writeServiceAccountKey(dir); err != nil {
		return err
	}
	for _, user := range []string{"kcm", "scheduler", "proxy", "kubelet", "admin"} {
		data := fileKubeconfig(l, user)
		if err := os.WriteFile(filepath.Join(dir, user+".kubeconfig"), data, 0o600); err != nil {
			return fmt.Errorf("write kubeconfig of %s: %w", user, err)
		}
	}
	return nil
}

// plan says which authority signs which certificates.
func plan(l layout.Layout) map[string][]leaf {
	loopback := net.IPv4(127, 0, 0, 1)
	local := leaf{dns: []string{"localhost"}, ips: []net.IP{loopback}}
	with := func(file, cn string, l leaf, org ...string) leaf {
		l.file, l.commonName, l.organization = file, cn, org
		return l
	}
	return map[string][]leaf{
		"ca": {
			with("apiserver", "kube-apiserver", leaf{
				dns: []string{
					"kubernetes", "kubernetes.default", "kubernetes.default.svc",
					"kubernetes.default.svc." + layout.Domain, "localhost",
				},
				ips: []net.IP{loopback, ip(l.NodeIP()), ip(l.APIServiceIP())},
			}),
			with("apiserver-kubelet", "kube-apiserver-kubelet-client", leaf{}, "system:masters"),
			with("admin", "admin", leaf{}, "system:masters"),
			with("kcm", "system:kube-controller-manager", local),
			with("scheduler", "system:kube-scheduler", local),
			with("proxy", "system:kube-proxy", leaf{}),
			// The API server calls the kubelet by the node's IP (log, exec,
			// port-forward), so it must be in the kubelet's certificate.
			with("kubelet", "system:node:"+l.NodeName(), leaf{
				dns: []string{l.NodeName()}, ips: []net.IP{ip(l.NodeIP()), loopback},
			}, "system:nodes"),
		},
		"front-proxy-ca": {with("front-proxy", "front-proxy-client", leaf{})},
		"etcd-ca":        {with("etcd", "etcd", local), with("etcd-client", "apiserver-etcd", leaf{})},
	}
}

// fileKubeconfig refers to the PKI folder's files; it is for components.
func fileKubeconfig(l layout.Layout, user string) []byte {
	d := l.PKI()
	return kubeconfig(l,
		"certificate-authority: "+d+"/ca.crt",
		"client-certificate: "+d+"/"+user+".crt",
		"client-key: "+d+"/"+user+".key")
}

// WriteAdminKubeconfig writes the administrator's kubeconfig, with the
// certificates inside.
func WriteAdminKubeconfig(l layout.Layout) error {
	data := map[string]string{}
	for _, f := range []string{"ca.crt", "admin.crt", "admin.key"} {
		b, err := os.ReadFile(filepath.Join(l.PKI(), f))
		if err != nil {
			return fmt.Errorf("read for kubeconfig: %w", err)
		}
		data[f] = base64.StdEncoding.EncodeToString(b)
	}
	c := kubeconfig(l,
		"certificate-authority-data: "+data["ca.crt"],
		"client-certificate-data: "+data["admin.crt"],
		"client-key-data: "+data["admin.key"])
	if err := os.WriteFile(l.Kubeconfig(), c, 0o600); err != nil {
		return fmt.Errorf("write kubeconfig: %w", err)
	}
	return nil
}

func kubeconfig(l layout.Layout, ca, cert, key string) []byte {
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters:
- name: %[1]s
  cluster:
    server: %[2]s
    %[3]s
users:
- name: %[1]s
  user:
    %[4]s
    %[5]s
contexts:
- name: %[1]s
  context: {cluster: %[1]s, user: %[1]s}
current-context: %[1]s
`, l.Name, l.APIServer(), ca, cert, key)
}

func ip(a netip.Addr) net.IP { return a.AsSlice() }

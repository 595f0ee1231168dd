// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package render

import (
	"path/filepath"

	"tulle.dev/tulle/hack/cluster/layout"
)

// A Component is one supervised process of the node. It is a value.
type Component struct {
	// Name is used in logs, states and messages.
	Name string
	// Args is the command line; Args[0] is an absolute path.
	Args []string
	// After names components that must have become ready first.
	After []string
	// Ready says how to find out that it works.
	Ready Probe
}

// A Probe is how to find out that a component works. Exactly one field is set;
// the zero value means that a started component is a ready one.
type Probe struct {
	// Unix is the path of a socket that accepts connections.
	Unix string
	// TCP is an address that accepts connections.
	TCP string
	// HTTP is a URL that answers 200 without authentication.
	HTTP string
	// HTTPS is a URL that answers 200 to the administrator.
	HTTPS string
}

// Components lists the node's processes in the order of their starting.
func Components(l layout.Layout) []Component {
	kk := filepath.Join(l.Bin(), "kk")
	p := func(name string) string { return filepath.Join(l.PKI(), name) }
	return []Component{
		{
			Name:  "containerd",
			Args:  []string{filepath.Join(l.Bin(), "containerd"), "-c", etc(l, "containerd.toml")},
			Ready: Probe{Unix: l.ContainerdSocket()},
		},
		{
			Name:  "etcd",
			Args:  []string{kk, "etcd", l.Path("etcd"), "https://127.0.0.1:2379", p("etcd-ca.crt"), p("etcd.crt"), p("etcd.key")},
			Ready: Probe{TCP: "127.0.0.1:2379"},
		},
		{
			Name:  "kube-apiserver",
			Args:  append([]string{kk, "kube-apiserver"}, apiserver(l)...),
			After: []string{"etcd"},
			Ready: Probe{HTTPS: l.APIServer() + "/readyz"},
		},
		{
			// Not after the API server: the kubelet needs a second to get
			// going and tries until it can register.
			Name: "kubelet",
			Args: []string{
				kk, "kubelet", "--config=" + etc(l, "kubelet.yaml"), "--kubeconfig=" + p("kubelet.kubeconfig"),
				"--hostname-override=" + l.NodeName(), "--node-ip=" + l.NodeIP().String(),
				"--root-dir=" + l.Path("kubelet"), "--cert-dir=" + l.Path("kubelet-pki"),
			},
			After: []string{"containerd", "etcd"},
			Ready: Probe{HTTP: "http://127.0.0.1:10248/healthz"},
		},
		{
			// After the API server: when it starts before, its informers back
			// off, and the first service account comes five seconds late.
			Name:  "kube-controller-manager",
			Args:  append([]string{kk, "kube-controller-manager"}, controllerManager(l)...),
			After: []string{"kube-apiserver"},
			Ready: Probe{HTTPS: "https://127.0.0.1:10257/healthz"},
		},
		{
			Name: "kube-scheduler",
			Args: []string{
				kk, "kube-scheduler", "--kubeconfig=" + p("scheduler.kubeconfig"),
				"--authentication-kubeconfig=" + p("scheduler.kubeconfig"), "--authorization-kubeconfig=" + p("scheduler.kubeconfig"),
				"--leader-elect=false", "--bind-address=127.0.0.1",
				"--tls-cert-file=" + p("scheduler.crt"), "--tls-private-key-file=" + p("scheduler.key"),
			},
			After: []string{"kube-apiserver"},
			Ready: Probe{HTTPS: "https://127.0.0.1:10259/healthz"},
		},
		{
			Name:  "kube-proxy",
			Args:  []string{kk, "kube-proxy", "--config=" + etc(l, "kube-proxy.yaml")},
			After: []string{"kube-apiserver"},
			Ready: Probe{HTTP: "http://127.0.0.1:10256/livez"},
		},
		{
			Name:  "loadbalancer",
			Args:  []string{filepath.Join(l.Bin(), "cluster"), "loadbalancer", "--kubeconfig=" + l.Kubeconfig(), "--pool=" + l.LoadBalancers().String()},
			After: []string{"kube-apiserver"},
		},
	}
}

func apiserver(l layout.Layout) []string {
	p := func(name string) string { return filepath.Join(l.PKI(), name) }
	return []string{
		"--advertise-address=" + l.NodeIP().String(), "--secure-port=6443",
		"--etcd-servers=https://127.0.0.1:2379", "--etcd-cafile=" + p("etcd-ca.crt"),
		"--etcd-certfile=" + p("etcd-client.crt"), "--etcd-keyfile=" + p("etcd-client.key"),
		"--service-cluster-ip-range=" + l.Services().String(),
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--client-ca-file=" + p("ca.crt"),
		"--tls-cert-file=" + p("apiserver.crt"), "--tls-private-key-file=" + p("apiserver.key"),
		"--kubelet-client-certificate=" + p("apiserver-kubelet.crt"), "--kubelet-client-key=" + p("apiserver-kubelet.key"),
		"--kubelet-certificate-authority=" + p("ca.crt"),
		// The node's name cannot be looked up anywhere.
		"--kubelet-preferred-address-types=InternalIP",
		"--allow-privileged=true",
		"--service-account-issuer=https://kubernetes.default.svc." + layout.Domain,
		"--service-account-key-file=" + p("sa.pub"), "--service-account-signing-key-file=" + p("sa.key"),
		"--requestheader-client-ca-file=" + p("front-proxy-ca.crt"), "--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + p("front-proxy.crt"), "--proxy-client-key-file=" + p("front-proxy.key"),
		"--shutdown-delay-duration=0s",
	}
}

func controllerManager(l layout.Layout) []string {
	p := func(name string) string { return filepath.Join(l.PKI(), name) }
	return []string{
		"--kubeconfig=" + p("kcm.kubeconfig"),
		"--authentication-kubeconfig=" + p("kcm.kubeconfig"), "--authorization-kubeconfig=" + p("kcm.kubeconfig"),
		"--leader-elect=false",
		// The default of 20 requests a second makes creating namespaces slow.
		"--kube-api-qps=500", "--kube-api-burst=1000",
		"--use-service-account-credentials=true", "--service-account-private-key-file=" + p("sa.key"),
		"--root-ca-file=" + p("ca.crt"),
		"--cluster-signing-cert-file=" + p("ca.crt"), "--cluster-signing-key-file=" + p("ca.key"),
		"--requestheader-client-ca-file=" + p("front-proxy-ca.crt"),
		"--bind-address=127.0.0.1", "--tls-cert-file=" + p("kcm.crt"), "--tls-private-key-file=" + p("kcm.key"),
	}
}

func etc(l layout.Layout, name string) string { return filepath.Join(l.Etc(), name) }

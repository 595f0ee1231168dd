// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package render

import (
	"fmt"
	"path/filepath"

	"tulle.dev/tulle/hack/cluster/layout"
)

// PauseImage is the image of every pod's sandbox.
const PauseImage = "tulle.local/pause:1"

// Files returns the content of every configuration file by its path.
func Files(l layout.Layout, snapshotter string) map[string]string {
	return map[string]string{
		etc(l, "kubelet.yaml"):          kubelet(l),
		etc(l, "kube-proxy.yaml"):       kubeProxy(l),
		etc(l, "containerd.toml"):       containerd(l, snapshotter),
		etc(l, "cni/10-tulle.conflist"): cni(l),
		// Pods with dnsPolicy Default look nowhere: there is no server outside.
		l.Path("resolv.conf"): "",
	}
}

// kubelet: failCgroupV1 has been true by default since 1.35, and hosts with
// cgroup v1 exist. Local images can't be pulled again, so they must never be
// collected: the thresholds are 100 % and absolute. oomScoreAdj is 0 because
// lowering it needs CAP_SYS_RESOURCE, which containers usually lack. maxPods is
// nearly what the range of addresses has.
func kubelet(l layout.Layout) string {
	pki := l.PKI()
	return fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
maxPods: 250
cgroupDriver: cgroupfs
cgroupRoot: %[1]s
address: 0.0.0.0
healthzBindAddress: 127.0.0.1
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: %[2]s/ca.crt}
authorization: {mode: Webhook}
tlsCertFile: %[2]s/kubelet.crt
tlsPrivateKeyFile: %[2]s/kubelet.key
clusterDNS: [%[3]s]
clusterDomain: %[4]s
resolvConf: %[5]s
containerRuntimeEndpoint: unix://%[6]s
imageServiceEndpoint: unix://%[6]s
failSwapOn: false
oomScoreAdj: 0
makeIPTablesUtilChains: false
podLogsDir: %[7]s
volumePluginDir: %[8]s
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard: {memory.available: 100Mi, nodefs.available: 1Gi, nodefs.inodesFree: "1%%", imagefs.available: 1Gi}
serializeImagePulls: false
registryPullQPS: 0
nodeStatusUpdateFrequency: 5s
syncFrequency: 10s
`, l.CgroupRoot(), pki, l.DNSIP(), layout.Domain, l.Path("resolv.conf"), l.ContainerdSocket(),
		l.Path("podlogs"), l.Path("kubelet", "volumeplugins"))
}

// kubeProxy: the conntrack limits are 0 because they are the machine's, and
// can't be written from a network namespace.
func kubeProxy(l layout.Layout) string {
	return fmt.Sprintf(`apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: %s/proxy.kubeconfig}
clusterCIDR: %s
hostnameOverride: %s
bindAddress: %s
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
nodePortAddresses: [primary]
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
oomScoreAdj: 0
nftables: {minSyncPeriod: 100ms, syncPeriod: 30s}
`, l.PKI(), l.Pods(), l.NodeName(), l.NodeIP())
}

// cni: ptp routes from pod to pod, so that traffic between pods passes the
// node's nftables rules (cluster IPs, hairpins) without br_netfilter.
func cni(l layout.Layout) string {
	return fmt.Sprintf(`{"cniVersion": "1.0.0", "name": "tulle", "plugins": [
  {"type": "ptp", "ipMasq": false, "mtu": 1400,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "%s"}]], "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "/run/cni-ipam"}},
  {"type": "portmap", "capabilities": {"portMappings": true}, "backend": "nftables"}
]}
`, l.Pods())
}

// containerd: restrict_oom_score_adj for the same reason as the kubelet's
// oomScoreAdj. Snapshotters and plugins that probe devices are off.
func containerd(l layout.Layout, snapshotter string) string {
	return fmt.Sprintf(`version = 3
root = %[1]q
state = "/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.erofs", "io.containerd.snapshotter.v1.blockfile", "io.containerd.nri.v1.nri"]
[grpc]
  address = %[2]q
[plugins.'io.containerd.cri.v1.images']
  snapshotter = %[3]q
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = %[4]q
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  disable_apparmor = true
  enable_selinux = false
  netns_mounts_under_state_dir = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = [%[5]q]
    conf_dir = %[6]q
    use_internal_loopback = true
  [plugins.'io.containerd.cri.v1.runtime'.containerd]
    default_runtime_name = "runc"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
        BinaryName = %[7]q
        SystemdCgroup = false
`, l.Path("containerd"), l.ContainerdSocket(), snapshotter, PauseImage, l.Bin(), etc(l, "cni"), filepath.Join(l.Bin(), "runc"))
}

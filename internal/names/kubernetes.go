// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package names

// Names in the Kubernetes API that belong to Tulle.
const (
	// Group is the API group of Mesh and the policy kinds, and the prefix of every label and annotation.
	Group = "tulle.dev"
	// ControllerName is the Gateway API controllerName of Tulle's GatewayClass, XMesh and route statuses.
	ControllerName = "tulle.dev/mesh-controller"
	// GatewayClass is the name of the GatewayClass the operator makes.
	GatewayClass = "tulle"
	// XMesh is the default name of the Gateway API mesh resource (GEP-3949).
	XMesh = "tulle"
	// SystemNamespace is where the operator and the control plane run unless told otherwise.
	SystemNamespace = "tulle-system"
	// FieldManager owns the fields that Tulle applies with server-side apply.
	FieldManager = "tulle"
	// Finalizer guards the orderly end of a Mesh.
	Finalizer = "tulle.dev/mesh"
)

// Labels.
const (
	// LabelInject on a namespace or a pod asks for a proxy ("enabled") or refuses it ("disabled"); the pod wins.
	LabelInject = "tulle.dev/inject"
	// LabelProxy marks pods that carry a proxy; its value is KindSidecar or KindGateway.
	LabelProxy = "tulle.dev/proxy"
	// LabelClient on a pod without a proxy says that its application is a client of the control plane
	// itself; the value is ClientGRPC.
	LabelClient = "tulle.dev/client"
	// ClientGRPC is the only value of LabelClient: a program whose gRPC library resolves names by xDS.
	ClientGRPC = "grpc"
	// LabelRevision names the control-plane revision that injected a pod or that an object belongs to.
	LabelRevision = "tulle.dev/revision"
	// LabelVersion names the release of an injected proxy.
	LabelVersion = "tulle.dev/version"
	// LabelImageReplaced marks pods of which the operator replaces the image of a proxy. The policy about the new
	// image (PodImageFence) is bound to it; its value is "true".
	LabelImageReplaced = "tulle.dev/image-replaced"
	// LabelMesh names the Mesh that owns an object; used for pruning.
	LabelMesh = "tulle.dev/mesh"
	// LabelUpgrade on a namespace or a pod says when its proxies are upgraded: UpgradeFirst before all
	// others, UpgradeNever not at all. The pod wins.
	LabelUpgrade = "tulle.dev/upgrade"
	// LabelGateway is Gateway API's own label on the objects made for a Gateway (GEP-1762).
	LabelGateway = "gateway.networking.k8s.io/gateway-name"
	// InjectEnabled and InjectDisabled are the only values of LabelInject.
	InjectEnabled  = "enabled"
	InjectDisabled = "disabled"
	// UpgradeFirst and UpgradeNever are the only values of LabelUpgrade.
	UpgradeFirst = "first"
	UpgradeNever = "never"
)

// Kinds of proxies.
const (
	KindSidecar = "sidecar"
	KindGateway = "gateway"
	// KindClient is no proxy: an application that is a client of the control plane itself (LabelClient).
	KindClient = "client"
)

// ProxyLogLevels are the log levels of a proxy.
func ProxyLogLevels() []string {
	return []string{"trace", "debug", "info", "warning", "error", "critical", "off"}
}

// Annotations. Those under "workloads may set" are the closed list that the
// injection webhook accepts on pods. Those under "Set by Tulle" may be on a pod, too, and mean nothing
// there. Any other tulle.dev/ annotation on a pod is refused.
const (
	// Workloads may set:
	AnnotationExcludeInboundPorts  = "tulle.dev/exclude-inbound-ports"  // "8125,9000"
	AnnotationExcludeOutboundPorts = "tulle.dev/exclude-outbound-ports" // "3306"
	AnnotationExcludeOutboundIPs   = "tulle.dev/exclude-outbound-ips"   // "192.0.2.0/24,198.51.100.7"
	AnnotationProxyLogLevel        = "tulle.dev/proxy-log-level"        // trace|debug|info|warning|error|critical|off
	AnnotationProxyConcurrency     = "tulle.dev/proxy-concurrency"      // worker threads, 1..64
	AnnotationProxyCPURequest      = "tulle.dev/proxy-cpu-request"
	AnnotationProxyCPULimit        = "tulle.dev/proxy-cpu-limit"
	AnnotationProxyMemoryRequest   = "tulle.dev/proxy-memory-request"
	AnnotationProxyMemoryLimit     = "tulle.dev/proxy-memory-limit"
	AnnotationDrainSeconds         = "tulle.dev/drain-seconds"

	// A Gateway may set in spec.infrastructure.annotations (package gatewayspec):
	AnnotationReplicas              = "tulle.dev/replicas"                 // "3"
	AnnotationMinReplicas           = "tulle.dev/min-replicas"             // bounds of a HorizontalPodAutoscaler
	AnnotationMaxReplicas           = "tulle.dev/max-replicas"             // "10"
	AnnotationTargetCPUPercent      = "tulle.dev/target-cpu-percent"       // "80", of the CPU request
	AnnotationServiceType           = "tulle.dev/service-type"             // LoadBalancer|NodePort|ClusterIP
	AnnotationExternalTrafficPolicy = "tulle.dev/external-traffic-policy"  // Cluster|Local
	AnnotationStreamIdleTimeout     = "tulle.dev/stream-idle-timeout"      // "5m"; "0s" for no limit
	AnnotationUnderscores           = "tulle.dev/headers-with-underscores" // Drop|Reject|Allow
	AnnotationMergeSlashes          = "tulle.dev/merge-slashes"            // true|false
	AnnotationEscapedSlashes        = "tulle.dev/escaped-slashes"          // Keep|Reject|Redirect|Unescape
	AnnotationHTTP2Streams          = "tulle.dev/http2-streams"            // "100", of a client's connection
	AnnotationHTTP2Window           = "tulle.dev/http2-stream-window"      // "64Ki"
	AnnotationProxyProtocol         = "tulle.dev/proxy-protocol"           // Require|Accept

	// Set by Tulle. On a pod that is created they say what was true of another pod: injection removes
	// them, whoever wrote them, and writes its own.
	// AnnotationInjected records what injection did, as JSON (protocol.Injected).
	AnnotationInjected = "tulle.dev/injected"
	// AnnotationTarget on a pod says which of its slots ought to be active, as JSON (protocol.Target).
	AnnotationTarget = "tulle.dev/target"
	// AnnotationGateway on the pods of a Gateway is the Gateway's name where that is too long for LabelGateway.
	AnnotationGateway = "tulle.dev/gateway"
	// AnnotationRestart on the pod template of a workload is the release its pods were restarted for, and
	// after a slash the hash of the template that the former pods were created from. Its prefix is not Group,
	// since the webhook of 0.2.0 refuses pods with annotations of that prefix that it does not know.
	AnnotationRestart = "upgrade.tulle.dev/restarted-for"
	// AnnotationRestart020 is AnnotationRestart as the operator of 0.2.0 wrote it.
	AnnotationRestart020 = "tulle.dev/restarted-for"
	// AnnotationPulls on the pods that bring images to the nodes is the image that the operator asked for.
	AnnotationPulls = "tulle.dev/pulls"
	// AnnotationForceDelete on a Mesh lets it go while pods and routes still use it.
	AnnotationForceDelete = "tulle.dev/force-delete"
	// AnnotationRotateRoot on a Mesh asks for a new self-made root, each new value once. Taking it away
	// calls off the change that it asked for.
	AnnotationRotateRoot = "tulle.dev/rotate-root"
	// AnnotationRotateWithout on a Mesh names pods that a change of the root does not wait for:
	// "NAMESPACE/POD,NAMESPACE/*", the latter for all pods of a namespace. Each loses its connections to proxies with newer certificates until it
	// takes the new root.
	AnnotationRotateWithout = "tulle.dev/rotate-root-without"
)

// Containers and volumes that injection adds.
const (
	ContainerInit  = "tulle-init"
	ContainerWait  = "tulle-wait"
	ContainerSlotA = "tulle-proxy-a"
	ContainerSlotB = "tulle-proxy-b"
	VolumeRun      = "tulle-run"
	VolumeToken    = "tulle-token"
	VolumeTrust    = "tulle-trust"
	VolumePod      = "tulle-pod"
)

// Objects that the operator keeps.
const (
	// ControlPlaneService is the stable address of the control plane; its selector follows the active revision.
	ControlPlaneService = "tulle-controlplane"
	// ControlPlaneReplicas is a headless Service with the ready replicas of all revisions, by which they
	// find each other.
	ControlPlaneReplicas = "tulle-controlplane-replicas"
	// TrustConfigMap holds the active roots (key TrustKey) in every meshed namespace.
	TrustConfigMap = "tulle-trust"
	// TrustKey is the key of TrustConfigMap: PEM, one or more certificates.
	TrustKey = "ca.crt"
	// IntermediatesKey is the key of TrustConfigMap with this mesh's intermediate certificates, PEM. If it is
	// there, a certificate counts only if its chain passes through one of them; a root alone proves nothing.
	IntermediatesKey = "intermediates.pem"
	// RecordedIntermediatesKey stands in for IntermediatesKey until that is required of every chain; see
	// package rotation. Only the system namespace has it, and only the operator reads it.
	RecordedIntermediatesKey = "intermediates-recorded.pem"
	// SignersKey is the key of TrustConfigMap with the SHA-256 of the intermediates that every proxy trusts,
	// in lower-case hex, one a line: the control plane signs with no other. Only the system namespace has it.
	SignersKey = "signers"
	// AddressesKey is the key of TrustConfigMap with the IP addresses of ControlPlaneService, one a line:
	// proxies find the control plane without asking a resolver.
	AddressesKey = "addresses"
	// RootSecret and IntermediateSecret are written by cert-manager in the system namespace.
	RootSecret         = "tulle-root"
	IntermediateSecret = "tulle-intermediate"
	// SecondRootSecret is the self-made root's other name: a new root gets the name that is free.
	SecondRootSecret = "tulle-root-2"
	// NextIntermediateSecret holds what a new issuer issued for a trial. Nothing is signed with it.
	NextIntermediateSecret = "tulle-intermediate-next"
)

// RevisionOf turns a release version into the form used in object names and labels: "0.1.0" becomes "0-1-0".
func RevisionOf(version string) string {
	b := []byte(version)
	for i, c := range b {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			b[i] = '-'
		}
	}
	return string(b)
}

// ControlPlaneDeployment is the name of a revision's Deployment and of its ServiceAccount, PDB and webhook objects.
func ControlPlaneDeployment(revision string) string { return "tulle-controlplane-" + revision }

// ImagesApp is the LabelApp of the pods that bring a release's images to the nodes.
const ImagesApp = "tulle-images"

// ImagesDaemonSet is the name of the DaemonSet that brings a revision's images to the nodes.
func ImagesDaemonSet(revision string) string { return ImagesApp + "-" + revision }

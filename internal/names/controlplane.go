// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package names

// Labels of the objects that the operator makes.
const (
	// LabelManagedBy has the value Operator on everything the operator makes.
	LabelManagedBy = "app.kubernetes.io/managed-by"
	// LabelApp tells the control plane's pods from others; with LabelRevision it selects one revision's.
	LabelApp = "app.kubernetes.io/name"
	// Operator is the value of LabelManagedBy and the name of the operator's objects.
	Operator = "tulle-operator"
)

// ContainerControlPlane is the one container of the control plane's pods.
const ContainerControlPlane = "controlplane"

// ContainerImage is the one container of the pods that bring images to the nodes (ImagesDaemonSet).
const ContainerImage = "image"

// GatewaySecretsRole is the ClusterRole that lets the control plane read Secrets of type
// kubernetes.io/tls for HTTPS listeners, and ConfigMaps with certificates of authorities. It is installed with
// the operator, which may bind it to the control plane but holds none of its rights, and binds it while something
// refers to one. Without it, HTTPS listeners have no certificate, BackendTLSPolicies nobody to trust, and all
// else works.
const GatewaySecretsRole = "tulle-gateway-secrets"

// Names of the ValidatingAdmissionPolicies, and of their bindings, that limit what the accounts of the
// operator and of control planes may write. They are installed with the operator, which has no rights on
// them (config/webhook).
const (
	PodFence          = "tulle-operator-pods"        // changes of pods
	PodImageFence     = "tulle-operator-pod-images"  // images of proxies in pods
	WorkloadFence     = "tulle-operator-workloads"   // changes of workloads that are not the operator's own
	ObjectFence       = "tulle-operator-objects"     // which objects, by label, name and owner
	TemplateFence     = "tulle-operator-templates"   // pods of the operator's own workloads
	ImageFence        = "tulle-operator-images"      // their images; also the name of a ClusterRole, see ImagesRole
	RightsFence       = "tulle-operator-rights"      // roles and bindings
	WebhookFence      = "tulle-operator-webhooks"    // webhook configurations
	SelectorFence     = "tulle-operator-selectors"   // Services, disruption budgets, autoscalers
	AuthorityFence    = "tulle-operator-authorities" // what cert-manager is asked for
	SpecFence         = "tulle-operator-specs"       // Meshes, GatewayClasses, XMeshes
	EvictionFence     = "tulle-operator-evictions"
	ControlPlaneFence = "tulle-controlplane" // what control planes write to a status
)

// EphemeralContainersPolicy is the ValidatingAdmissionPolicy, and its binding, that keeps containers which are
// added to running meshed pods from being the proxy.
const EphemeralContainersPolicy = "tulle-ephemeral-containers"

// ImagesRole is a ClusterRole without rules. Its annotations name the repositories whose images ImageFence
// lets the operator run.
const ImagesRole = "tulle-operator-images"

// Fences returns the names of all policies, in the order in which they are reported.
func Fences() []string {
	return []string{
		PodFence, PodImageFence, WorkloadFence, ObjectFence, TemplateFence, ImageFence, RightsFence, WebhookFence, SelectorFence,
		AuthorityFence, SpecFence, EvictionFence, ControlPlaneFence,
	}
}

// Where a control plane's pod finds its files. All of them are directories that the kubelet keeps current.
const (
	// IntermediateDir is Secret IntermediateSecret: tls.crt, tls.key and ca.crt.
	IntermediateDir = "/var/run/secrets/tulle.dev/intermediate"
	// TrustDir is ConfigMap TrustConfigMap: TrustKey, every active root.
	TrustDir = "/var/run/secrets/tulle.dev/trust"
)

// Environment of a control plane's pod.
const (
	EnvControlPlanePod = "TULLE_POD"
	EnvControlPlaneIP  = "TULLE_POD_IP"
)

// Paths on the control plane's PortMonitor, which anyone in the network may read.
const (
	// PathLive returns 200 while the process makes progress.
	PathLive = "/healthz"
	// PathReady returns 200 once every input has synced and there is a certificate to serve with.
	PathReady = "/readyz"
	// PathMetrics returns metrics in Prometheus' text format.
	PathMetrics = "/metrics"
)

// Paths on the control plane's PortInternal. The caller presents a token (InternalAudience), and the
// cluster's RBAC must allow its account to get ControlPlaneResource/DebugResource or, for PathProgress,
// ControlPlaneResource/ProgressResource in the control plane's namespace.
const (
	// PathProxies lists the connected proxies as JSON.
	PathProxies = "/debug/proxies"
	// PathTrust tells which roots this replica and its proxies trust and hang from, as JSON (protocol.TrustReport).
	PathTrust = "/debug/trust"
	// PathTranslation tells what this replica makes of the cluster, as JSON (protocol.Translation), or
	// with ?type=TYPE-URL&name=NAME one resource.
	PathTranslation = "/debug/translation"
	// PathProgress is where a replica reports to the other replicas what its proxies acknowledged, as JSON:
	// ?seq=N waits for a change after N.
	PathProgress = "/internal/progress"
)

// Authentication on PortInternal.
const (
	// InternalAudience is the audience of the tokens. A token for the API server or for the signing port is
	// refused: no trust domain gives TokenAudience this value.
	InternalAudience = "internal.tulle.dev"
	// InternalTokenDir is where the operator's and the control plane's pods have such a token mounted, and
	// InternalToken is the file in it. The kubelet renews it.
	InternalTokenDir = "/var/run/secrets/tulle.dev/internal"
	InternalToken    = "token"
	// InternalPortName is the name of PortInternal in the pods and in ControlPlaneReplicas. A pod whose
	// container has no port of this name is of a release up to 0.2.0, which has all paths on PortMonitor.
	InternalPortName = "internal"
	// ControlPlaneResource and its subresources are of the API group Group. They exist in RBAC rules only,
	// as nodes/proxy does for kubelets. The name of the object is that of the Mesh.
	ControlPlaneResource = "controlplanes"
	DebugResource        = "debug"
	ProgressResource     = "progress"
	// DebugAccount is the ServiceAccount that people ask a token of to read the paths below /debug. It is
	// installed with the operator. Whoever may create a token of it may read them.
	DebugAccount = "tulle-debug"
)

// ControlPlaneHost is the name that every replica of the control plane has in its serving certificate.
func ControlPlaneHost(namespace string) string { return ControlPlaneService + "." + namespace + ".svc" }

// InjectPath is where the injection webhook listens.
const InjectPath = "/inject"

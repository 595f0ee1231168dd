// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package v1alpha1

// Conditions of a Mesh. The operator alone writes them. Each but Conflicted and InUse is positive:
// True is good.
const (
	// ConditionReady is True when Valid, CertificatesReady, ControlPlaneReady and InjectionReady all
	// are. Otherwise its reason and message are those of the first of them that is not.
	ConditionReady = "Ready"
	// ConditionValid tells whether the spec can be done in this cluster with this operator.
	ConditionValid = "Valid"
	// ConditionCertificatesReady tells whether there is an intermediate certificate to sign workloads'
	// certificates with, and whether its roots have been spread.
	ConditionCertificatesReady = "CertificatesReady"
	// ConditionControlPlaneReady tells whether the control plane that is in use serves.
	ConditionControlPlaneReady = "ControlPlaneReady"
	// ConditionInjectionReady tells whether new pods get their proxy.
	ConditionInjectionReady = "InjectionReady"
	// ConditionUpgraded tells whether the mesh runs spec.version, every proxy included that takes part.
	// It is no part of Ready: a mesh works while it is being upgraded.
	ConditionUpgraded = "Upgraded"
	// ConditionIntermediatesRequired tells whether the chain of every certificate must pass through one of
	// this mesh's own intermediates, so that the issuer of its root can't issue certificates that the mesh
	// accepts. Since when is its lastTransitionTime. It is no part of Ready.
	ConditionIntermediatesRequired = "IntermediatesRequired"
	// ConditionConflicted is there, and True, when an older Mesh is active in this cluster.
	ConditionConflicted = "Conflicted"
	// ConditionInUse is there, and True, when the Mesh is being deleted but pods or routes still use it.
	ConditionInUse = "InUse"
)

// Reasons of ConditionReady when it is True. When False it takes the reason of the condition it is False for.
const (
	// ReasonReady: everything works.
	ReasonReady = "Ready"
	// ReasonDeleting: the Mesh is being taken down.
	ReasonDeleting = "Deleting"
)

// Reasons of ConditionValid.
const (
	// ReasonValid: the spec can be done.
	ReasonValid = "Valid"
	// ReasonUnknownVersion: this operator does not know spec.version; the message lists those it knows.
	ReasonUnknownVersion = "UnknownVersion"
	// ReasonCertManagerMissing: the kinds of cert-manager are not installed; the message has the command that installs them.
	ReasonCertManagerMissing = "CertManagerMissing"
	// ReasonGatewayAPIMissing: the kinds of the Gateway API are not installed; the message has the command that installs them.
	ReasonGatewayAPIMissing = "GatewayAPIMissing"
	// ReasonInvalidSelector: spec.injection.namespaceSelector can't be understood.
	ReasonInvalidSelector = "InvalidSelector"
)

// Reasons of ConditionCertificatesReady.
const (
	// ReasonIssued: the intermediate is there and good.
	ReasonIssued = "Issued"
	// ReasonIssuedBySharedIssuer is ReasonIssued with a ClusterIssuer, which may issue to every namespace; True.
	ReasonIssuedBySharedIssuer = "IssuedBySharedIssuer"
	// ReasonWaitingForCertManager: cert-manager has not issued yet, and has not said why.
	ReasonWaitingForCertManager = "WaitingForCertManager"
	// ReasonWaitingForApproval: the CertificateRequest that the message names is neither approved nor denied.
	ReasonWaitingForApproval = "WaitingForApproval"
	// ReasonIssuerNotFound: spec.certificates.issuerRef names an issuer that is not there.
	ReasonIssuerNotFound = "IssuerNotFound"
	// ReasonIssuerNotReady: the issuer is there but says that it can't issue.
	ReasonIssuerNotReady = "IssuerNotReady"
	// ReasonIssuerCannotSignCA: the issuer does not, or can't, issue certificate authorities.
	ReasonIssuerCannotSignCA = "IssuerCannotSignCA"
	// ReasonIssuingFailed: cert-manager tried and failed; the message has its words.
	ReasonIssuingFailed = "IssuingFailed"
	// ReasonCertificateInvalid: what was issued can't be used; the message says why.
	ReasonCertificateInvalid = "CertificateInvalid"
	// ReasonCertificateExpired: the intermediate has ended and was not renewed.
	ReasonCertificateExpired = "CertificateExpired"
	// ReasonRootLost: the Secret of the self-made root has gone or was replaced. Traffic goes on, and a new root is brought in.
	ReasonRootLost = "RootLost"
)

// Reasons of ConditionIntermediatesRequired.
const (
	// ReasonRequired: certificates that were not signed with an intermediate of this mesh are refused.
	ReasonRequired = "Required"
	// ReasonRecording: the mesh was created by a release that knew only roots, and some certificates in use
	// may have been signed with an intermediate that is not known. The message says what is waited for.
	ReasonRecording = "Recording"
	// ReasonNotServed: the release that serves accepts every certificate of the mesh's roots. Later ones require intermediates.
	ReasonNotServed = "NotServed"
)

// Reasons of ConditionControlPlaneReady.
const (
	// ReasonServing: every replica wanted is ready.
	ReasonServing = "Serving"
	// ReasonSourceAddressCheckDisabled is ReasonServing while spec.controlPlane.sourceAddressCheck is Disabled; True.
	ReasonSourceAddressCheckDisabled = "SourceAddressCheckDisabled"
	// ReasonDegraded: some replicas are ready; the mesh works. The condition is True.
	ReasonDegraded = "Degraded"
	// ReasonWaitingForCertificates: the control plane is deployed once there are certificates.
	ReasonWaitingForCertificates = "WaitingForCertificates"
	// ReasonRollingOut: no replica of the version asked for is ready yet.
	ReasonRollingOut = "RollingOut"
	// ReasonUnavailable: no replica is ready, and the rollout has not moved for a while; the message says where to look.
	ReasonUnavailable = "Unavailable"
)

// Reasons of ConditionInjectionReady.
const (
	// ReasonInjecting: the webhook is configured and a replica serves it.
	ReasonInjecting = "Injecting"
	// ReasonRootsUnwritten is ReasonInjecting while the roots cannot be written to some namespaces, which the message
	// names: new pods with a proxy do not start there. True.
	ReasonRootsUnwritten = "RootsUnwritten"
	// ReasonWaitingForControlPlane: new pods that ask for a proxy are refused, and tried again by
	// their owners, until a replica serves.
	ReasonWaitingForControlPlane = "WaitingForControlPlane"
)

// Reasons of ConditionUpgraded. Status.upgrade says more.
const (
	// ReasonUpToDate: nothing is to be changed.
	ReasonUpToDate = "UpToDate"
	// ReasonUpgrading: a change of the version is under way.
	ReasonUpgrading = "Upgrading"
	// ReasonPaused: it is stopped by spec.upgrade.paused.
	ReasonPaused = "Paused"
	// ReasonRollingBack: a gate failed, or spec.version was set back; the proxies go back.
	ReasonRollingBack = "RollingBack"
	// ReasonRolledBack: a gate failed and the mesh runs the release before; the message says why.
	ReasonRolledBack = "RolledBack"
)

// Reason shared by conditions that can't be judged, because of another one.
const (
	// ReasonBlocked: this waits for another condition, which the message names.
	ReasonBlocked = "Blocked"
	// ReasonOlderMesh is of ConditionConflicted: the oldest Mesh in a cluster is the active one.
	ReasonOlderMesh = "OlderMesh"
	// ReasonPodsOrRoutes is of ConditionInUse: pods carry a proxy, or routes are attached.
	ReasonPodsOrRoutes = "PodsOrRoutes"
)

// Conditions that Tulle writes on Gateway API objects, beside those of the Gateway API.
const (
	// ConditionDeployed on a Gateway tells whether its proxies and its Service are there. The
	// operator writes it. It is not part of the Gateway API.
	ConditionDeployed = "tulle.dev/Deployed"
	// ConditionProgrammed on a parent of a route is True when every connected proxy that needs the
	// route has acknowledged it. The control plane writes it. It is not part of the Gateway API.
	ConditionProgrammed = "tulle.dev/Programmed"
)

// Reasons of ConditionDeployed.
const (
	// ReasonDeployed: a proxy is ready and the Service has an address.
	ReasonDeployed = "Deployed"
	// ReasonNoMesh: no Mesh is ready to deploy proxies for.
	ReasonNoMesh = "NoMesh"
	// ReasonProxyNotReady: no proxy of the Gateway is ready yet.
	ReasonProxyNotReady = "ProxyNotReady"
	// ReasonAddressPending: the Service has no address yet.
	ReasonAddressPending = "AddressPending"
	// ReasonNoPorts: no listener has a port that a Service can have.
	ReasonNoPorts = "NoPorts"
	// ReasonNameTaken: an object that this Gateway does not own has the name that one made for the
	// Gateway would get; the message names it. Nothing of it is changed. On a Mesh, in condition Ready: an
	// object that the operator did not create has the name of one of the mesh's.
	ReasonNameTaken = "NameTaken"
	// ReasonNotAccepted: the Gateway is refused, see its condition Accepted. Nothing new is deployed for it.
	ReasonNotAccepted = "NotAccepted"
	// ReasonRefused: the API server refused an object made for the Gateway; the message has its words. On a Mesh,
	// in conditions ControlPlaneReady and Ready: it refused one of the mesh's.
	ReasonRefused = "Refused"
)

// Reasons of ConditionProgrammed.
const (
	// ReasonProgrammed: all proxies that need it have acknowledged it.
	ReasonProgrammed = "Programmed"
	// ReasonNoProxies: no connected proxy needs it; True.
	ReasonNoProxies = "NoProxies"
	// ReasonListenerNotServed: no listener that the route is attached to is served; the message names
	// them and says why.
	ReasonListenerNotServed = "ListenerNotServed"
	// ReasonPending: some proxies have not answered yet.
	ReasonPending = "Pending"
	// ReasonRejected: a proxy has refused it; the message has Envoy's words.
	ReasonRejected = "Rejected"
)

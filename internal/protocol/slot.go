// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package protocol

import "time"

// Paths in a pod that carries a proxy. A running pod's command, environment, mounts and ports
// can't change, so these are frozen from the first release.
const (
	// RunDir is the emptyDir (medium Memory) that both slots share.
	RunDir = "/run/tulle"
	// LockFile is locked (flock, exclusive) by the slot that is active, for as long as it is.
	LockFile = RunDir + "/lock"
	// TokenFile is the projected token the agent proves itself with.
	TokenFile = "/var/run/secrets/tulle.dev/token/token"
	// TrustFile holds the active roots, PEM, kept current by the kubelet.
	TrustFile = "/var/run/secrets/tulle.dev/trust/ca.crt"
	// AddressesFile holds the IP addresses of the control plane's Service, one a line, kept current by the
	// kubelet. It is not there before an operator of 0.3 or later has run.
	AddressesFile = "/var/run/secrets/tulle.dev/trust/addresses"
	// PodDir holds the downward API files "labels" and "annotations".
	PodDir = "/var/run/secrets/tulle.dev/pod"
	// AnnotationsFile holds the pod's annotations, one a line: name="value", the value quoted as Go
	// does. The kubelet replaces it soon after the pod has changed.
	AnnotationsFile = PodDir + "/annotations"
)

// SlotDir is a slot's own directory under RunDir; slot is "a" or "b".
func SlotDir(slot string) string { return RunDir + "/" + slot }

// StateFile holds a slot's State. Written atomically (rename).
func StateFile(slot string) string { return SlotDir(slot) + "/state.json" }

// GaveUpFile exists once a slot has given up because no proxy of the pod got ready.
func GaveUpFile(slot string) string { return SlotDir(slot) + "/gave-up" }

// AdminSocket is Envoy's admin interface, a unix socket in the slot's own directory.
func AdminSocket(slot string) string { return SlotDir(slot) + "/admin.sock" }

// XDSSocket is where the agent serves its Envoy.
func XDSSocket(slot string) string { return SlotDir(slot) + "/xds.sock" }

// Target says which slot ought to be active. It is the annotation names.AnnotationTarget of the pod,
// as JSON, so it outlives everything in the pod and needs nobody to carry it. Absent: slot "a",
// generation 0, of any version.
//
// A slot becomes active only when told so by a generation higher than that of the State it took over
// from, and only if it is of the version that is asked for: the order may reach a slot whose image is
// about to be replaced.
type Target struct {
	Slot       string `json:"slot"`
	Generation int64  `json:"generation"`
	// Version of the slot that is meant; empty: whichever.
	Version string `json:"version,omitempty"`
	// Since is when this was ordered. Slots don't look at it.
	Since time.Time `json:"since,omitzero"`
}

// Phase of a slot.
type Phase string

// Phases, in the order of a life.
const (
	// PhaseStandby waits with nothing but tulle-slot running.
	PhaseStandby Phase = "Standby"
	// PhaseStarting has an agent, and an Envoy that is not yet ready.
	PhaseStarting Phase = "Starting"
	// PhaseReady serves.
	PhaseReady Phase = "Ready"
	// PhaseDraining no longer accepts and lets connections end.
	PhaseDraining Phase = "Draining"
	// PhaseFailed reports what failed in Message and tries again.
	PhaseFailed Phase = "Failed"
)

// State is what a slot says of itself.
type State struct {
	Slot       string    `json:"slot"`
	Phase      Phase     `json:"phase"`
	Generation int64     `json:"generation"`
	Version    string    `json:"version"`
	Message    string    `json:"message,omitempty"`
	Since      time.Time `json:"since"`
	PID        int       `json:"pid"`
}

// Environment of both slots, the same in each but for EnvSlot; set at injection.
const (
	EnvSlot           = "TULLE_SLOT" // "a" or "b"
	EnvKind           = "TULLE_KIND" // names.KindSidecar or names.KindGateway
	EnvPod            = "TULLE_POD"
	EnvPodUID         = "TULLE_POD_UID"
	EnvPodIPs         = "TULLE_POD_IPS" // comma-separated
	EnvNamespace      = "TULLE_NAMESPACE"
	EnvServiceAccount = "TULLE_SERVICE_ACCOUNT"
	EnvNode           = "TULLE_NODE"
	EnvGateway        = "TULLE_GATEWAY" // name of the Gateway, for KindGateway
	EnvTrustDomain    = "TULLE_TRUST_DOMAIN"
	EnvControlPlane   = "TULLE_CONTROL_PLANE" // host name of the control plane's Service
	EnvProbes         = "TULLE_PROBES"        // Probes as JSON
	EnvMetrics        = "TULLE_APP_METRICS"   // AppMetrics as JSON; empty: the app has none
)

// Commands of the proxy image. tulle-slot is pid 1 of a slot.
const (
	// "run" (pid 1), "hold-start" (init container: returns once a slot is ready), "drain" (preStop hook), and
	// "wait" (postStart hook of pods that releases before 0.3 injected: the same as "hold-start" with a limit).
	SlotCommand  = "/tulle-slot"
	ProxyCommand = "/tulle-proxy" // "init", "agent"
)

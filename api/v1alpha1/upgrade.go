// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Upgrade says how a change of spec.version is carried out. The defaults suit most meshes.
type Upgrade struct {
	// Paused stops an upgrade where it is; proxies that are being replaced are still finished.
	// +optional
	Paused bool `json:"paused,omitempty"`
	// DataPlane says how proxies are replaced: InPlace, in running pods, whose applications go on; or
	// Rollout, by restarting workloads, whose pods then have one proxy slot instead of two. Pods that
	// can't be replaced in place are rolled out in either case.
	// +optional
	// +kubebuilder:default="InPlace"
	DataPlane DataPlaneMode `json:"dataPlane,omitempty"`
	// OnDifference says what happens when the new release rejects an object that the one in use
	// accepts: Pause before anything changes, or Continue.
	// +optional
	// +kubebuilder:default="Pause"
	OnDifference OnDifference `json:"onDifference,omitempty"`
	// Waves say which proxies are replaced, in which order. Left out: one pod each of at most 5 % of the
	// workloads with three or more replicas, then 25 %, 50 % and 100 % of all pods, single replicas last.
	// Pods or namespaces labelled tulle.dev/upgrade=first come before all, those with "never" not at all.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:XValidation:rule="self.size() == 0 || (has(self[self.size()-1].percent) && self[self.size()-1].percent == 100 && !has(self[self.size()-1].selector))",message="the last wave must take everything that is left: write percent: 100, without a selector"
	Waves []Wave `json:"waves,omitempty"`
	// MaxUnavailable is how many proxies may be in replacement at once, as a number or as a percentage
	// of all (rounded up). A pod serves all the while; the limit bounds what two proxies in a pod need.
	// +optional
	// +kubebuilder:default="10%"
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? (int(self) >= 1 && int(self) <= 1000) : string(self).matches('^([1-9][0-9]?|100)%$')",message="write a number from 1 to 1000, or a percentage from 1% to 100%"
	MaxUnavailable *intstr.IntOrString `json:"maxUnavailable,omitempty"`
	// Windows are when proxies may be replaced. Left out: at any time.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Windows []Window `json:"windows,omitempty"`
	// Soak is how long a wave is watched before its gates are judged.
	// +optional
	// +kubebuilder:default="1m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,6}(h|m|s))+$')",message="write a duration such as 1m or 1h30m"
	Soak metav1.Duration `json:"soak,omitempty,omitzero"`
	// Gates are what a wave must pass.
	// +optional
	// +kubebuilder:default={}
	Gates Gates `json:"gates,omitempty,omitzero"`
	// Rollback says what happens when a gate fails: Automatic goes back to the release before, Never pauses.
	// +optional
	// +kubebuilder:default="Automatic"
	Rollback RollbackMode `json:"rollback,omitempty"`
}

// DataPlaneMode is how proxies are replaced.
//
// +kubebuilder:validation:Enum=InPlace;Rollout
type DataPlaneMode string

// Ways to replace proxies.
const (
	DataPlaneInPlace DataPlaneMode = "InPlace"
	DataPlaneRollout DataPlaneMode = "Rollout"
)

// OnDifference is what happens when the new release rejects what the one in use accepts.
//
// +kubebuilder:validation:Enum=Continue;Pause
type OnDifference string

// What OnDifference can be.
const (
	OnDifferenceContinue OnDifference = "Continue"
	OnDifferencePause    OnDifference = "Pause"
)

// RollbackMode is what happens when a gate fails.
//
// +kubebuilder:validation:Enum=Automatic;Never
type RollbackMode string

// What RollbackMode can be.
const (
	RollbackAutomatic RollbackMode = "Automatic"
	RollbackNever     RollbackMode = "Never"
)

// Wave is a part of the proxies that is replaced before the next.
//
// +kubebuilder:validation:XValidation:rule="has(self.selector) || has(self.percent)",message="write a selector, a percent, or both: a wave without either would be empty"
type Wave struct {
	// Selector limits the wave to pods with these labels.
	// +optional
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
	// Percent of the pods (of those that the selector picks, if there is one) that are done after this
	// wave, earlier waves included. Left out: all that the selector picks.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self >= 1 && self <= 100",message="write 1 to 100"
	Percent *int32 `json:"percent,omitempty"`
}

// Window is a time of day at which proxies may be replaced.
type Window struct {
	// Days of the week on which it begins. Left out: every day.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=7
	Days []Day `json:"days,omitempty"`
	// Start is the time of day, "22:00".
	// +required
	// +kubebuilder:validation:MaxLength=5
	// +kubebuilder:validation:XValidation:rule="self.matches('^([01][0-9]|2[0-3]):[0-5][0-9]$')",message="write a time of day such as 22:00"
	Start string `json:"start"`
	// Duration of the window.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,6}(h|m|s))+$')",message="write a duration such as 4h"
	Duration metav1.Duration `json:"duration"`
	// TimeZone of Start, as in the IANA database ("Europe/Prague"). Left out: UTC.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	TimeZone string `json:"timeZone,omitempty"`
}

// Day is a day of the week.
//
// +kubebuilder:validation:Enum=Monday;Tuesday;Wednesday;Thursday;Friday;Saturday;Sunday
type Day string

// Gates are what a wave of an upgrade must pass, judged from what the replaced proxies saw against
// those of the same workloads that are still to be replaced.
type Gates struct {
	// MinRequests that the replaced proxies of a wave must have seen together; with fewer there is no evidence.
	// +optional
	// +kubebuilder:default=20
	// +kubebuilder:validation:XValidation:rule="self >= 1 && self <= 1000000",message="write 1 to 1000000 requests"
	MinRequests *int32 `json:"minRequests,omitempty"`
	// OnNoEvidence says what happens when there were too few requests to judge by: Continue, or Pause
	// until there were enough.
	// +optional
	// +kubebuilder:default="Continue"
	OnNoEvidence OnNoEvidence `json:"onNoEvidence,omitempty"`
	// MaxFailurePercent is by how many percentage points more requests may fail than with the proxies
	// not yet replaced.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:XValidation:rule="self >= 0 && self <= 100",message="write 0 to 100 percentage points"
	MaxFailurePercent *int32 `json:"maxFailurePercent,omitempty"`
	// MaxSlowdownPercent is by how many percent the median and the 99th percentile of the latency may be
	// above those of the proxies not yet replaced.
	// +optional
	// +kubebuilder:default=100
	// +kubebuilder:validation:XValidation:rule="self >= 1 && self <= 10000",message="write 1 to 10000 percent"
	MaxSlowdownPercent *int32 `json:"maxSlowdownPercent,omitempty"`
	// External is a check outside the cluster's proxies.
	// +optional
	External *ExternalGate `json:"external,omitempty"`
}

// OnNoEvidence is what happens when there was too little traffic to judge a wave by.
//
// +kubebuilder:validation:Enum=Continue;Pause
type OnNoEvidence string

// What OnNoEvidence can be.
const (
	OnNoEvidenceContinue OnNoEvidence = "Continue"
	OnNoEvidencePause    OnNoEvidence = "Pause"
)

// ExternalGate is a check that somebody else answers.
//
// +kubebuilder:validation:XValidation:rule="has(self.query) == has(self.max)",message="write query and max together: the wave passes while the query's value is at most max; for a plain check leave out both"
type ExternalGate struct {
	// URL is asked once a wave has soaked. Without query, an answer of 200 passes the wave. With one it
	// is the address of a Prometheus, "http://prometheus.monitoring:9090".
	// +required
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.matches('^https?://[^/]+')",message="write a URL that begins with http:// or https://"
	URL string `json:"url"`
	// Query is a PromQL expression that gives one number.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	Query string `json:"query,omitempty"`
	// Max is the largest number that passes, such as "0.01".
	// +optional
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^-?[0-9]+([.][0-9]+)?$')",message="write a number such as 0.01"
	Max string `json:"max,omitempty"`
}

// UpgradePhase is how far a change of the version has come.
type UpgradePhase string

// Phases of an upgrade, in their order. The last two end one.
const (
	// PhasePreflight looks whether anything stands in the way. Nothing has been changed.
	PhasePreflight UpgradePhase = "Preflight"
	// PhaseShadow runs the new control plane beside the old one, without serving, and compares what
	// either would send.
	PhaseShadow UpgradePhase = "Shadow"
	// PhaseControlPlane leads new connections and injection to the new control plane.
	PhaseControlPlane UpgradePhase = "ControlPlane"
	// PhaseDataPlane replaces proxies, wave by wave.
	PhaseDataPlane UpgradePhase = "DataPlane"
	// PhaseRollingBack replaces the new proxies by those of the release before, because a gate failed.
	PhaseRollingBack UpgradePhase = "RollingBack"
	// PhaseCompleted: every proxy that takes part runs the new release, and the old control plane has gone.
	PhaseCompleted UpgradePhase = "Completed"
	// PhaseRolledBack: every proxy runs the release before again. Nothing happens until spec.version changes.
	PhaseRolledBack UpgradePhase = "RolledBack"
)

// UpgradeStatus is how a change of the version goes, or went.
type UpgradeStatus struct {
	// From is the release that the mesh comes from.
	From string `json:"from"`
	// To is the release that it goes to.
	To string `json:"to"`
	// Requested is spec.version as it was seen last. A release that was rolled back is tried again once
	// spec.version has been changed to another one and back.
	// +optional
	Requested string `json:"requested,omitempty"`
	// CatchUp: To serves already, and only proxies that were left behind are brought to it. There are no
	// waves and no gates, and nothing goes back.
	// +optional
	CatchUp bool `json:"catchUp,omitempty"`
	// Phase it is in: Preflight, Shadow, ControlPlane, DataPlane, then Completed; or RollingBack, then
	// RolledBack.
	Phase UpgradePhase `json:"phase"`
	// Since is when it came to this phase.
	Since metav1.Time `json:"since"`
	// Started is when it began.
	Started metav1.Time `json:"started"`
	// Finished is when it was completed or rolled back.
	// +optional
	Finished *metav1.Time `json:"finished,omitempty"`
	// Message says what it waits for, or why it was rolled back.
	// +optional
	Message string `json:"message,omitempty"`
	// Wave is the one under way, counted from 1.
	// +optional
	Wave int32 `json:"wave,omitempty"`
	// Waves is how many there are; the last one is the Gateways'.
	// +optional
	Waves int32 `json:"waves,omitempty"`
	// WaveDone is when the last proxy of the wave was replaced.
	// +optional
	WaveDone *metav1.Time `json:"waveDone,omitempty"`
	// UnreadySince is when one of the wave's proxies, which had been ready, was first seen not to be, or since when
	// the Gateways' proxies have been waited for. They are waited for, for a while.
	// +optional
	UnreadySince *metav1.Time `json:"unreadySince,omitempty"`
	// Proxies that take part.
	// +optional
	Proxies int32 `json:"proxies,omitempty"`
	// Replaced of them run the release that it goes to.
	// +optional
	Replaced int32 `json:"replaced,omitempty"`
	// Difference sums up what the new control plane would send, against the old one.
	// +optional
	Difference string `json:"difference,omitempty"`
	// Gates are the results of the waves so far, the latest last.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Gates []GateResult `json:"gates,omitempty"`
}

// GateResult is how a wave was judged.
type GateResult struct {
	// Wave that was judged.
	Wave int32 `json:"wave"`
	// Result is Passed, Failed or NoEvidence.
	Result GateVerdict `json:"result"`
	// Message has the figures.
	Message string `json:"message"`
}

// GateVerdict is the judgement on a wave.
type GateVerdict string

// Judgements on a wave.
const (
	GatePassed     GateVerdict = "Passed"
	GateFailed     GateVerdict = "Failed"
	GateNoEvidence GateVerdict = "NoEvidence"
)

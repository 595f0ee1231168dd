// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package plan

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/clip"
	"tulle.dev/tulle/internal/lifecycle/health"
	"tulle.dev/tulle/internal/lifecycle/release"
	"tulle.dev/tulle/internal/names"
)

// Commands that install what the mesh stands on.
const (
	InstallCertManager = "kubectl apply --server-side -f https://github.com/cert-manager/cert-manager/releases/download/v1.21.2/cert-manager.yaml"
	InstallGatewayAPI  = "kubectl apply --server-side -f https://github.com/kubernetes-sigs/gateway-api/releases/download/" + release.GatewayAPIVersion + "/experimental-install.yaml"
)

// validate judges the spec against this cluster and this operator.
func validate(m *v1alpha1.Mesh, o Observed, known release.Catalog) health.Verdict {
	if _, ok := known.Find(m.Spec.Version); !ok {
		return health.Verdict{Reason: v1alpha1.ReasonUnknownVersion, Message: fmt.Sprintf(
			"this operator does not know version %s; write one of: %s", m.Spec.Version, known.Versions(),
		)}
	}
	if _, err := metav1.LabelSelectorAsSelector(m.Spec.Injection.NamespaceSelector); err != nil {
		return health.Verdict{Reason: v1alpha1.ReasonInvalidSelector, Message: fmt.Sprintf(
			"spec.injection.namespaceSelector can't be used: %v", err,
		)}
	}
	if !o.CertManager {
		return health.Verdict{
			Reason:  v1alpha1.ReasonCertManagerMissing,
			Message: "cert-manager is not installed, and makes the mesh's certificates; install it and this goes on by itself: " + InstallCertManager,
		}
	}
	if !o.GatewayAPI {
		return health.Verdict{
			Reason:  v1alpha1.ReasonGatewayAPIMissing,
			Message: "the Gateway API is not installed, and is how the mesh's traffic is directed; install it and this goes on by itself: " + InstallGatewayAPI,
		}
	}
	return health.Verdict{Good: true, Reason: v1alpha1.ReasonValid, Message: "the spec can be done"}
}

func (d decision) status() v1alpha1.MeshStatus {
	s := v1alpha1.MeshStatus{
		ObservedGeneration: d.mesh.Generation,
		Conditions:         d.conditions(),
		Certificates:       d.rotation.Progress,
		Roots:              d.rootStatus,
		Intermediates:      d.rotation.Intermediates,
		Proxies:            d.proxies(),
		Upgrade:            d.up.Status,
		GatewayVersion:     d.up.Gateways,

		IntermediatesRequiredSince: d.rotation.RequiredSince,
	}
	for _, r := range d.rootStatus {
		if r.Active && (s.RootCertificateExpiry == nil || r.NotAfter.Before(s.RootCertificateExpiry)) {
			s.RootCertificateExpiry = r.NotAfter.DeepCopy()
		}
	}
	if d.seen.ServingRevision != "" && !d.none {
		s.Version, s.Revision = d.serving.Version, d.serving.Revision()
		h := health.Deployment(d.seen.Deployments[s.Revision], nil, "")
		s.ControlPlane = &v1alpha1.ControlPlaneStatus{Replicas: h.Replicas, ReadyReplicas: h.ReadyReplicas, Autoscaling: autoscalingStatus(d.scale)}
	}
	return s
}

func (d decision) proxies() *v1alpha1.ProxiesStatus {
	seen := d.seen.Proxies
	upToDate := seen.ByVersion[d.mesh.Spec.Version]
	return &v1alpha1.ProxiesStatus{
		Total: seen.Total, UpToDate: upToDate, Connected: seen.Connected,
		Missing: int32(len(d.seen.Missing.Pods)), //nolint:gosec // pods
		Summary: fmt.Sprintf("%d/%d", upToDate, seen.Total),
	}
}

// conditions are those of the Mesh, each from its own facts; a condition that has to wait for
// another says so and adds nothing of its own. Ready is the first of them that is not True.
func (d decision) conditions() []metav1.Condition {
	c := conditions{generation: d.mesh.Generation}
	c.add(v1alpha1.ConditionValid, d.valid)
	c.add(v1alpha1.ConditionCertificatesReady, d.judgeCertificates())
	c.add(v1alpha1.ConditionControlPlaneReady, d.judgeControlPlane())
	c.add(v1alpha1.ConditionInjectionReady, d.judgeInjection())
	ready := health.Verdict{Good: true, Reason: v1alpha1.ReasonReady, Message: "the mesh works"}
	if i := slices.IndexFunc(c.list, func(x metav1.Condition) bool { return x.Status != metav1.ConditionTrue }); i >= 0 {
		ready = health.Verdict{Reason: c.list[i].Reason, Message: c.list[i].Message}
	}
	c.add(v1alpha1.ConditionReady, ready)
	c.add(v1alpha1.ConditionUpgraded, d.judgeUpgraded())
	c.add(v1alpha1.ConditionIntermediatesRequired, d.judgeIntermediates())
	return c.list
}

func (d decision) judgeIntermediates() health.Verdict {
	if d.rotation.RequiredSince == nil {
		return health.Verdict{
			Reason:  v1alpha1.ReasonRecording,
			Message: "every certificate of the mesh's roots with a name of the mesh is accepted for now: " + d.rotation.Waiting,
		}
	}
	if !d.none && !d.serving.RequiresIntermediates() {
		return health.Verdict{
			Reason:  v1alpha1.ReasonNotServed,
			Message: "proxies and the control plane of " + d.serving.Version + " accept every certificate of the mesh's roots with a name of the mesh; upgrade spec.version to " + release.Current,
		}
	}
	return health.Verdict{
		Good: true, Reason: v1alpha1.ReasonRequired,
		Message: "only certificates that were signed with an intermediate of this mesh are accepted",
	}
}

func (d decision) judgeCertificates() health.Verdict {
	if !d.seen.CertManager {
		return blocked("cert-manager must be installed first, see the condition Valid")
	}
	if d.unknown && d.none {
		return blocked("a known version must be asked for first, see the condition Valid")
	}
	return d.certs.Verdict
}

func (d decision) judgeControlPlane() health.Verdict {
	if d.unknown && d.none {
		return blocked("a known version must be asked for first, see the condition Valid")
	}
	if d.certs.Authority == nil && d.seen.ServingRevision == "" {
		return health.Verdict{
			Reason:  v1alpha1.ReasonWaitingForCertificates,
			Message: "the control plane is deployed once there are certificates, see the condition CertificatesReady",
		}
	}
	v := d.controlPlane.Verdict
	if d.mesh.Spec.ControlPlane.SourceAddressCheck == v1alpha1.SourceAddressCheckDisabled {
		v.Message += "; spec.controlPlane.sourceAddressCheck is Disabled: a stolen token or key of a workload can be used from any address"
		if v.Reason == v1alpha1.ReasonServing {
			v.Reason = v1alpha1.ReasonSourceAddressCheckDisabled
		}
	}
	return v
}

func (d decision) judgeInjection() health.Verdict {
	if d.none {
		return blocked("a known version must be asked for first, see the condition Valid")
	}
	if d.roots == "" {
		return blocked("there must be certificates first, see the condition CertificatesReady")
	}
	rev := d.serving.Revision()
	configured := slices.ContainsFunc(d.seen.Owned, func(r Ref) bool {
		return r.Kind == "MutatingWebhookConfiguration" && r.Name == names.ControlPlaneDeployment(rev)
	})
	if h := health.Deployment(d.seen.Deployments[rev], nil, ""); !configured || h.ReadyReplicas == 0 {
		return health.Verdict{
			Reason:  v1alpha1.ReasonWaitingForControlPlane,
			Message: "no replica of the control plane serves the webhook: new pods that ask for a proxy wait, all others start; see the condition ControlPlaneReady",
		}
	}
	message := "new pods that ask for a proxy get one"
	if n := len(d.seen.Missing.Pods); n > 0 {
		message += "; status.proxies.missing counts older ones that have none and must be made anew, and tulle check lists them"
		if d.mesh.Spec.Injection.Missing == v1alpha1.MissingEvict {
			message = "new pods that ask for a proxy get one; older ones that have none are evicted, a few at a time: see status.proxies.missing"
		}
	}
	return health.Verdict{Good: true, Reason: v1alpha1.ReasonInjecting, Message: message}
}

func blocked(message string) health.Verdict {
	return health.Verdict{Reason: v1alpha1.ReasonBlocked, Message: message}
}

// NameTaken returns a status that reports that an object of others has the name of one of the mesh's.
func NameTaken(s v1alpha1.MeshStatus, generation int64, message string) v1alpha1.MeshStatus {
	out := *s.DeepCopy()
	out.Conditions = replace(out.Conditions, generation, v1alpha1.ConditionReady, health.Verdict{Reason: v1alpha1.ReasonNameTaken, Message: message})
	return out
}

// refusedMark begins what Refused adds to the message of an upgrade.
const refusedMark = "; the API server refuses a step: "

// Refused returns a status that reports that the API server refused a step, with its words: in the conditions
// ControlPlaneReady and Ready while these are not True, and in the status of an upgrade. If message is empty, no
// step was refused.
func Refused(s v1alpha1.MeshStatus, generation int64, message string) v1alpha1.MeshStatus {
	out, message := *s.DeepCopy(), Words(message)
	if u := out.Upgrade; u != nil {
		u.Message = withoutRefusal(u.Message) // that of the last reconciliation may still be there
		if message != "" && u.Phase != v1alpha1.PhasePreflight {
			u.Message += refusedMark + message
		}
	}
	if message == "" || meta.IsStatusConditionTrue(out.Conditions, v1alpha1.ConditionReady) {
		return out
	}
	verdict := health.Verdict{Reason: v1alpha1.ReasonRefused, Message: "the API server refuses a step: " + message}
	for _, kind := range []string{v1alpha1.ConditionControlPlaneReady, v1alpha1.ConditionReady} {
		if !meta.IsStatusConditionTrue(out.Conditions, kind) {
			out.Conditions = replace(out.Conditions, generation, kind, verdict)
		}
	}
	return out
}

// withoutRefusal is the message of an upgrade without what Refused has added.
func withoutRefusal(message string) string {
	out, _, _ := strings.Cut(message, refusedMark)
	return out
}

// maxWords bounds what a status has of an error, in bytes: of thousands of pods each may have an error of its own,
// and the API server takes no status whose conditions are longer than 32 KiB.
const maxWords = 2000

// Words returns the words of an error as a status shows them: the beginning, if there are too many.
func Words(s string) string { return clip.Text(s, maxWords) }

// Unwritten is a namespace to which the roots could not be written, with the API server's words.
type Unwritten struct{ Namespace, Words string }

// unwrittenShown and wordsShown bound what a condition has of such namespaces.
const (
	unwrittenShown = 3
	wordsShown     = 400
)

// RootsUnwritten returns a status whose condition InjectionReady names the namespaces to which the roots could
// not be written. The condition's status stays: one namespace's quota does not make the mesh not ready.
func RootsUnwritten(s v1alpha1.MeshStatus, list []Unwritten) v1alpha1.MeshStatus {
	c := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionInjectionReady)
	if len(list) == 0 || c == nil {
		return s
	}
	out := *s.DeepCopy()
	var each []string
	for _, u := range list[:min(len(list), unwrittenShown)] {
		each = append(each, u.Namespace+" ("+clip.Text(u.Words, wordsShown)+")")
	}
	if more := len(list) - len(each); more > 0 {
		each = append(each, fmt.Sprintf("%d more", more))
	}
	c = meta.FindStatusCondition(out.Conditions, v1alpha1.ConditionInjectionReady)
	if c.Reason == v1alpha1.ReasonInjecting {
		c.Reason = v1alpha1.ReasonRootsUnwritten
	}
	c.Message += fmt.Sprintf("; the ConfigMap %s, without which pods with a proxy do not start, cannot be written to namespace %s", names.TrustConfigMap, strings.Join(each, ", "))
	return out
}

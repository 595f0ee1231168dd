// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package health

import (
	"strings"
	"testing"
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"tulle.dev/tulle/api/v1alpha1"
)

func certificate(kind cmv1.CertificateConditionType, status cmmeta.ConditionStatus, message string, attempts *int) *cmv1.Certificate {
	c := &cmv1.Certificate{}
	c.Status.Conditions = []cmv1.CertificateCondition{{Type: kind, Status: status, Message: message}}
	c.Status.FailedIssuanceAttempts = attempts
	return c
}

// TestCertificates is the table of what a user reads of cert-manager's work.
func TestCertificates(t *testing.T) {
	root := issue(t, nil, "root", nil)
	good := text(issue(t, root, "good", nil))
	issued := certificate(cmv1.CertificateConditionReady, cmmeta.ConditionTrue, "", nil)
	one := 1
	failed := certificate(cmv1.CertificateConditionIssuing, cmmeta.ConditionFalse, "The vault is\n sealed.", &one)
	named := &v1alpha1.IssuerRef{Name: "corp", Kind: "Issuer", Group: "cert-manager.io"}
	notReady := &IssuerFacts{Found: true, Status: cmv1.IssuerStatus{Conditions: []cmv1.IssuerCondition{{
		Type: cmv1.IssuerConditionReady, Status: cmmeta.ConditionFalse, Message: "no such secret",
	}}}}

	for name, c := range map[string]struct {
		ref       *v1alpha1.IssuerRef
		facts     CertificateFacts
		reason    string
		words     string
		authority bool
	}{
		"nothing yet":       {nil, CertificateFacts{}, v1alpha1.ReasonWaitingForCertManager, "Certificate tulle-root", false},
		"root issued":       {nil, CertificateFacts{Root: issued}, v1alpha1.ReasonWaitingForCertManager, "Certificate tulle-intermediate", false},
		"all issued":        {nil, CertificateFacts{Root: issued, Intermediate: issued, TLSCrt: good, CACrt: text(root)}, v1alpha1.ReasonIssued, "the self-made root", true},
		"issued, no Secret": {nil, CertificateFacts{Root: issued, Intermediate: issued}, v1alpha1.ReasonWaitingForCertManager, "Secret tulle-intermediate", false},
		"root failed":       {nil, CertificateFacts{Root: failed}, v1alpha1.ReasonIssuingFailed, "tulle-root: The vault is sealed", false},
		"issuer missing":    {named, CertificateFacts{Issuer: &IssuerFacts{}}, v1alpha1.ReasonIssuerNotFound, "no Issuer corp", false},
		"missing, but the old certificates work": {
			named,
			CertificateFacts{Issuer: &IssuerFacts{}, Intermediate: issued, TLSCrt: good, CACrt: text(root)},
			v1alpha1.ReasonIssuerNotFound, "no Issuer corp", true,
		},
		"issuer not ready":    {named, CertificateFacts{Issuer: notReady}, v1alpha1.ReasonIssuerNotReady, "Issuer corp can't issue: no such secret", false},
		"intermediate failed": {named, CertificateFacts{Issuer: &IssuerFacts{Found: true}, Intermediate: failed}, v1alpha1.ReasonIssuingFailed, "The vault is sealed", false},
		"external issuer":     {&v1alpha1.IssuerRef{Name: "x", Kind: "Y", Group: "z"}, CertificateFacts{Intermediate: issued, TLSCrt: good, CACrt: text(root)}, v1alpha1.ReasonIssued, "Y x", true},
		"issuer of the operator's namespace": {
			named,
			CertificateFacts{Issuer: &IssuerFacts{Found: true}, Intermediate: issued, TLSCrt: good, CACrt: text(root)},
			v1alpha1.ReasonIssued, "Issuer corp", true,
		},
		"issuer that every namespace may ask": {
			&v1alpha1.IssuerRef{Name: "corp", Kind: "ClusterIssuer", Group: "cert-manager.io"},
			CertificateFacts{Issuer: &IssuerFacts{Found: true}, Intermediate: issued, TLSCrt: good, CACrt: text(root)},
			v1alpha1.ReasonIssuedBySharedIssuer, "name an Issuer in the operator's namespace", true,
		},
		"not of this spec yet": {nil, CertificateFacts{Root: issued, Intermediate: stale(), TLSCrt: good, CACrt: text(root)}, v1alpha1.ReasonWaitingForCertManager, "Certificate tulle-intermediate", true},
	} {
		t.Run(name, func(t *testing.T) {
			m := &v1alpha1.Mesh{}
			m.Spec.TrustDomain, m.Spec.Certificates.IssuerRef = "example.org", c.ref
			h := Certificates(m, c.facts, now())
			if h.Reason != c.reason || !strings.Contains(h.Message, c.words) || h.Good != strings.HasPrefix(c.reason, v1alpha1.ReasonIssued) {
				t.Errorf("got %+v", h.Verdict)
			}
			if (h.Authority != nil) != c.authority {
				t.Errorf("authority: %v", h.Authority)
			}
		})
	}
}

// TestApproval: a CertificateRequest that nobody decides on is named, with what to do, once it has waited for a
// while; the mesh says so even while the certificate that there is is good.
func TestApproval(t *testing.T) {
	root := issue(t, nil, "root", nil)
	good := text(issue(t, root, "good", nil))
	one := 1
	issuing := certificate(cmv1.CertificateConditionIssuing, cmmeta.ConditionTrue, "", nil)
	denied := certificate(cmv1.CertificateConditionIssuing, cmmeta.ConditionFalse, "The certificate request has failed to complete and will be retried: No policy approved this request", &one)
	renewed := certificate(cmv1.CertificateConditionReady, cmmeta.ConditionTrue, "", nil)
	renewed.Status.Conditions = append(renewed.Status.Conditions, issuing.Status.Conditions...)
	for _, c := range []*cmv1.Certificate{issuing, denied, renewed} {
		c.UID = "intermediate"
	}
	request := func(name, owner string, age time.Duration, kind cmv1.CertificateRequestConditionType) cmv1.CertificateRequest {
		controls := true
		r := cmv1.CertificateRequest{ObjectMeta: metav1.ObjectMeta{
			Namespace: "tulle-system", Name: name, CreationTimestamp: metav1.NewTime(now().Add(-age)),
			OwnerReferences: []metav1.OwnerReference{{UID: types.UID(owner), Controller: &controls}},
		}}
		if kind != "" {
			r.Status.Conditions = []cmv1.CertificateRequestCondition{{Type: kind, Status: cmmeta.ConditionTrue}}
		}
		return r
	}
	pending := request("tulle-intermediate-2", "intermediate", time.Minute, "")
	for name, c := range map[string]struct {
		of       *cmv1.Certificate
		requests []cmv1.CertificateRequest
		reason   string
		words    string // empty: nothing of an approval
	}{
		"waits":             {issuing, []cmv1.CertificateRequest{pending}, v1alpha1.ReasonWaitingForApproval, "cmctl approve -n tulle-system tulle-intermediate-2"},
		"after one denied":  {issuing, []cmv1.CertificateRequest{pending, request("tulle-intermediate-1", "intermediate", time.Hour, cmv1.CertificateRequestConditionDenied)}, v1alpha1.ReasonWaitingForApproval, "tulle-intermediate-2 waits for approval"},
		"just made":         {issuing, []cmv1.CertificateRequest{request("tulle-intermediate-1", "intermediate", 5*time.Second, "")}, v1alpha1.ReasonWaitingForCertManager, ""},
		"approved":          {issuing, []cmv1.CertificateRequest{request("tulle-intermediate-1", "intermediate", time.Minute, cmv1.CertificateRequestConditionApproved)}, v1alpha1.ReasonWaitingForCertManager, ""},
		"another's":         {issuing, []cmv1.CertificateRequest{request("web-1", "web", time.Minute, "")}, v1alpha1.ReasonWaitingForCertManager, ""},
		"denied":            {denied, []cmv1.CertificateRequest{request("tulle-intermediate-1", "intermediate", time.Minute, cmv1.CertificateRequestConditionDenied)}, v1alpha1.ReasonIssuingFailed, ""},
		"renewal waits":     {renewed, []cmv1.CertificateRequest{pending}, v1alpha1.ReasonIssued, "it is not renewed: CertificateRequest tulle-intermediate-2 waits for approval"},
		"renewal goes well": {renewed, nil, v1alpha1.ReasonIssued, ""},
	} {
		m := &v1alpha1.Mesh{}
		m.Spec.TrustDomain = "example.org"
		f := CertificateFacts{Root: certificate(cmv1.CertificateConditionReady, cmmeta.ConditionTrue, "", nil), Intermediate: c.of, Requests: c.requests}
		if c.of == renewed {
			f.TLSCrt, f.CACrt = good, text(root)
		}
		h := Certificates(m, f, now())
		if h.Reason != c.reason || !strings.Contains(h.Message, c.words) || c.words == "" && strings.Contains(h.Message, "approv") && c.of != denied {
			t.Errorf("%s: %+v", name, h.Verdict)
		}
		if c.of == denied && !strings.Contains(h.Message, "No policy approved this request") {
			t.Errorf("%s: not the words of who denied: %s", name, h.Message)
		}
		if !BeingIssued(c.of) {
			t.Errorf("%s: its requests are not looked at", name)
		}
	}
	if BeingIssued(nil) || BeingIssued(certificate(cmv1.CertificateConditionReady, cmmeta.ConditionTrue, "", nil)) {
		t.Error("requests are looked at where there are none")
	}
}

// stale was issued for an earlier generation of its spec.
func stale() *cmv1.Certificate {
	c := certificate(cmv1.CertificateConditionReady, cmmeta.ConditionTrue, "", nil)
	c.Generation = 2
	c.Status.Conditions[0].ObservedGeneration = 1
	return c
}

func deployment(wanted, updated, ready int32, stalled bool) *appsv1.Deployment {
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "d"}}
	d.Spec.Replicas = &wanted
	d.Status = appsv1.DeploymentStatus{UpdatedReplicas: updated, ReadyReplicas: ready, UnavailableReplicas: max(0, wanted-ready)}
	if stalled {
		d.Status.Conditions = []appsv1.DeploymentCondition{{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionFalse}}
	}
	return d
}

func waiting(reason string, ended *corev1.ContainerStateTerminated) corev1.Pod {
	s := corev1.ContainerStatus{Name: "c", Image: "i"}
	if reason != "" {
		s.State.Waiting = &corev1.ContainerStateWaiting{Reason: reason, Message: "back-off 40s"}
	}
	s.LastTerminationState.Terminated = ended
	return corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{s}}}
}

// refusedPods has the Deployment tell that a quota refuses its pods.
func refusedPods(d *appsv1.Deployment) *appsv1.Deployment {
	d.Status.Conditions = append(d.Status.Conditions, appsv1.DeploymentCondition{
		Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Reason: "FailedCreate",
		Message: `pods "d-6d4cf56db6-8fhd2" is forbidden: exceeded quota: q, requested: pods=1, used: pods=4, limited: pods=4`,
	})
	return d
}

// TestDeployment is the table of what a user reads of a Deployment.
func TestDeployment(t *testing.T) {
	crash := &corev1.ContainerStateTerminated{Reason: "Error", Message: "no such flag"}
	for name, c := range map[string]struct {
		d      *appsv1.Deployment
		pods   []corev1.Pod
		good   bool
		reason string
		words  string
	}{
		"not there":      {nil, nil, false, v1alpha1.ReasonRollingOut, "is being deployed"},
		"all ready":      {deployment(2, 2, 2, false), nil, true, v1alpha1.ReasonServing, "every replica"},
		"one ready":      {deployment(2, 2, 1, false), nil, true, v1alpha1.ReasonDegraded, "1 of 2"},
		"old ones serve": {deployment(2, 1, 2, false), nil, true, v1alpha1.ReasonDegraded, "2 of 2"},
		"none ready":     {deployment(2, 2, 0, false), nil, false, v1alpha1.ReasonRollingOut, "yet"},
		"stuck":          {deployment(2, 2, 0, true), nil, false, v1alpha1.ReasonUnavailable, "kubectl describe deployment -n n d"},
		"no image":       {deployment(2, 2, 0, false), []corev1.Pod{waiting("ErrImagePull", nil)}, false, v1alpha1.ReasonRollingOut, "image i: ImagePullBackOff"},
		"crashing":       {deployment(2, 2, 0, false), []corev1.Pod{waiting("CrashLoopBackOff", crash)}, false, v1alpha1.ReasonRollingOut, "CrashLoopBackOff, ended with no such flag"},
		"crashing, running for a moment": {
			deployment(2, 2, 0, false),
			[]corev1.Pod{waiting("", crash)},
			false, v1alpha1.ReasonRollingOut, "CrashLoopBackOff, ended with no such flag",
		},
		"no pods":             {refusedPods(deployment(2, 0, 0, false)), nil, false, v1alpha1.ReasonUnavailable, "ready (its pods are refused: exceeded quota: q, requested: pods=1, limited: pods=4); look at"},
		"one more is refused": {refusedPods(deployment(2, 2, 1, false)), nil, true, v1alpha1.ReasonDegraded, "1 of 2 replicas ready (its pods are refused"},
		"nowhere to run": {
			deployment(2, 2, 0, false),
			[]corev1.Pod{{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "0/1 nodes"}}}}},
			false, v1alpha1.ReasonRollingOut, "not scheduled: 0/1 nodes",
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := Deployment(c.d, c.pods, "the thing")
			if h.Good != c.good || h.Reason != c.reason || !strings.Contains(h.Message, c.words) {
				t.Errorf("got %+v", h.Verdict)
			}
		})
	}
	// The order in which pods are listed changes nothing.
	a, b := waiting("CreateContainerConfigError", nil), waiting("ErrImagePull", nil)
	d := deployment(2, 2, 0, false)
	if x, y := Deployment(d, []corev1.Pod{a, b}, "x"), Deployment(d, []corev1.Pod{b, a}, "x"); x != y {
		t.Errorf("%+v, %+v", x, y)
	}
}

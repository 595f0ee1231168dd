// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package render

import (
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/internal/names"
)

// injectTimeout is how long the API server waits for the webhook, in seconds.
const injectTimeout = 10

// Webhook is the configuration of the injection webhook.
//
// Only pods that are to be meshed reach it, and those fail rather than start unprotected; with the
// webhook dead, all others start. Each pod matches at most one entry: the pod's label decides
// first, then its namespace's, then spec.injection.namespaceSelector. Two entries are for pods that have a proxy
// and do not ask for one, as copies of meshed pods where there is no mesh: it is removed from them. These come
// first: a pod that another entry is to inject has no proxy yet when they are compared with it. (Only a copy in a
// namespace of spec.injection.namespaceSelector is asked about twice: no entry can say that a selector does not match.)
func Webhook(in Input) Object {
	var hooks []admissionv1.MutatingWebhook
	if in.Release.RemovesProxies() {
		hooks = append(hooks,
			in.leftOver("disabled", nil, is(names.InjectDisabled)),
			in.leftOver("left-over", expr(isNot(names.InjectEnabled)), isNot(names.InjectEnabled, names.InjectDisabled)))
	}
	hooks = append(hooks,
		in.hook("namespace", expr(is(names.InjectEnabled)), expr(isNot(names.InjectEnabled, names.InjectDisabled))),
		in.hook("pod", nil, expr(is(names.InjectEnabled))))
	if s := in.Mesh.Spec.Injection.NamespaceSelector; s != nil {
		selected := s.DeepCopy()
		selected.MatchExpressions = append(selected.MatchExpressions, isNot(names.InjectEnabled, names.InjectDisabled))
		hooks = append(hooks, in.hook("selected", selected, expr(isNot(names.InjectEnabled, names.InjectDisabled))))
	}
	m := in.meta()
	m.Namespace = ""
	return object("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration",
		&admissionv1.MutatingWebhookConfiguration{ObjectMeta: m, Webhooks: hooks})
}

func (in Input) hook(name string, namespaces, pods *metav1.LabelSelector) admissionv1.MutatingWebhook {
	if namespaces == nil {
		namespaces = &metav1.LabelSelector{}
	}
	// The control plane must be able to start while its webhook is dead.
	namespaces.MatchExpressions = append(namespaces.MatchExpressions, metav1.LabelSelectorRequirement{
		Key: corev1.LabelMetadataName, Operator: metav1.LabelSelectorOpNotIn,
		Values: []string{metav1.NamespaceSystem, in.Namespace},
	})
	return admissionv1.MutatingWebhook{
		Name: name + ".inject." + names.Group,
		ClientConfig: admissionv1.WebhookClientConfig{
			Service: &admissionv1.ServiceReference{
				Name: names.ControlPlaneService, Namespace: in.Namespace,
				Path: ptr(names.InjectPath), Port: ptr(int32(names.PortWebhookIn)),
			},
			CABundle: in.bundle(),
		},
		Rules: []admissionv1.RuleWithOperations{{
			Operations: []admissionv1.OperationType{admissionv1.Create},
			Rule: admissionv1.Rule{
				APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"},
				Scope: ptr(admissionv1.NamespacedScope),
			},
		}},
		NamespaceSelector:       namespaces,
		ObjectSelector:          pods,
		FailurePolicy:           ptr(admissionv1.Fail),
		MatchPolicy:             ptr(admissionv1.Equivalent),
		SideEffects:             ptr(admissionv1.SideEffectClassNone),
		TimeoutSeconds:          ptr(int32(injectTimeout)),
		ReinvocationPolicy:      ptr(admissionv1.IfNeededReinvocationPolicy),
		AdmissionReviewVersions: []string{"v1"},
		// The API server's copies of a kubelet's own pods can't be changed.
		MatchConditions: []admissionv1.MatchCondition{{
			Name:       "not-a-mirror-pod",
			Expression: "!has(object.metadata.annotations) || !('kubernetes.io/config.mirror' in object.metadata.annotations)",
		}},
	}
}

// bundle is what the control plane's chain must end in, and after that a line that is no certificate, which the API server ignores. It
// makes a new client, with new connections, for each clientConfig that differs.
func (in Input) bundle() []byte {
	if in.Led == "" {
		return []byte(in.Anchors)
	}
	return []byte(strings.TrimSuffix(in.Anchors, "\n") + "\n# the control plane: " + in.Led + "\n")
}

// leftOver is an entry for pods that have a sidecar, whether or not they have kept its label.
func (in Input) leftOver(name string, namespaces *metav1.LabelSelector, pods metav1.LabelSelectorRequirement) admissionv1.MutatingWebhook {
	selector := expr(pods)
	selector.MatchExpressions = append(selector.MatchExpressions, metav1.LabelSelectorRequirement{
		Key: names.LabelProxy, Operator: metav1.LabelSelectorOpNotIn, Values: []string{names.KindGateway},
	})
	h := in.hook(name, namespaces, selector)
	h.MatchConditions = append(h.MatchConditions, admissionv1.MatchCondition{
		Name: "has-a-proxy",
		Expression: "has(object.spec.initContainers) && object.spec.initContainers.exists(c, c.name in ['" +
			strings.Join([]string{names.ContainerInit, names.ContainerSlotA, names.ContainerSlotB, names.ContainerWait}, "', '") + "'])",
	})
	return h
}

func expr(r metav1.LabelSelectorRequirement) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{r}}
}

func is(values ...string) metav1.LabelSelectorRequirement {
	return metav1.LabelSelectorRequirement{Key: names.LabelInject, Operator: metav1.LabelSelectorOpIn, Values: values}
}

// isNot also holds where the label is missing.
func isNot(values ...string) metav1.LabelSelectorRequirement {
	return metav1.LabelSelectorRequirement{Key: names.LabelInject, Operator: metav1.LabelSelectorOpNotIn, Values: values}
}

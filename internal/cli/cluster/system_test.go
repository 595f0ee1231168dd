// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cluster

import (
	"slices"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestSystemOf: an installation is found wherever its Deployments are.
func TestSystemOf(t *testing.T) {
	in := func(namespace, app string) appsv1.Deployment {
		return appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Labels: map[string]string{"app.kubernetes.io/name": app}}}
	}
	for name, c := range map[string]struct {
		deployments []appsv1.Deployment
		system      string
		others      []string
	}{
		"none":                {nil, "tulle-system", nil},
		"another application": {[]appsv1.Deployment{in("shop", "web")}, "tulle-system", nil},
		"an operator":         {[]appsv1.Deployment{in("mesh", "tulle-operator"), in("mesh", "tulle-controlplane")}, "mesh", nil},
		"no operator any more": {
			[]appsv1.Deployment{in("mesh", "tulle-controlplane"), in("mesh", "tulle-controlplane")}, "mesh", nil,
		},
		"a control plane that is left": {
			[]appsv1.Deployment{in("old", "tulle-controlplane"), in("tulle-system", "tulle-controlplane"), in("mesh", "tulle-operator")}, "mesh", nil,
		},
		"two operators": {
			[]appsv1.Deployment{in("zone", "tulle-operator"), in("mesh", "tulle-operator"), in("mesh", "tulle-operator")}, "mesh", []string{"zone"},
		},
		"two, one where it usually is": {
			[]appsv1.Deployment{in("mesh", "tulle-operator"), in("tulle-system", "tulle-operator")}, "tulle-system", []string{"mesh"},
		},
	} {
		if system, others := systemOf(c.deployments); system != c.system || !slices.Equal(others, c.others) {
			t.Errorf("%s: %s, %v", name, system, others)
		}
	}
}

// TestAccountOf: the account of a policy is read from the conditions of every release.
func TestAccountOf(t *testing.T) {
	for expression, want := range map[string]string{
		"request.userInfo.username == 'system:serviceaccount:tulle-system:tulle-operator'":                                                "system:serviceaccount:tulle-system:tulle-operator",
		"request.userInfo.username.startsWith('system:serviceaccount:') && request.userInfo.username.endsWith(':tulle-operator')":         ":tulle-operator",
		"oldObject.metadata.?labels[?'app.kubernetes.io/managed-by'].orValue('') != 'tulle-operator' && request.userInfo.groups == ['a']": "",
	} {
		p := &admissionv1.ValidatingAdmissionPolicy{}
		p.Spec.MatchConditions = []admissionv1.MatchCondition{{Name: "a", Expression: "true"}, {Name: "b", Expression: expression}}
		if got := accountOf(p); got != want {
			t.Errorf("%s: %q", expression, got)
		}
	}
}

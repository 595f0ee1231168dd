// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// wrongSets are ListenerSets: one that asks for what the Gateway has, and one that is not let in.
const wrongSets = `
---
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: {name: taken, namespace: %[1]s}
spec:
  parentRef: {name: edge}
  listeners: [{name: again, port: 80, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: {name: stranger, namespace: %[3]s}
spec:
  parentRef: {name: edge, namespace: %[1]s}
  listeners: [{name: mine, port: 8006, protocol: HTTP}]
`

// wrongPolicies are about the ports of a Service that nobody calls.
const wrongPolicies = `
---
apiVersion: v1
kind: Service
metadata: {name: spare, namespace: %[1]s}
spec: {selector: {app: nobody}, ports: [{name: a, port: 1}, {name: b, port: 2}, {name: c, port: 3}, {name: d, port: 4}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: a-missing, namespace: %[1]s}
spec: {targetRefs: [{group: "", kind: Service, name: spare, sectionName: a}], validation: {hostname: a.example, caCertificateRefs: [{group: "", kind: ConfigMap, name: nobody}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: b-kind, namespace: %[1]s}
spec: {targetRefs: [{group: "", kind: Service, name: spare, sectionName: b}], validation: {hostname: a.example, caCertificateRefs: [{group: "", kind: Secret, name: good}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: c-first, namespace: %[1]s}
spec: {targetRefs: [{group: "", kind: Service, name: spare, sectionName: c}], options: {example.org/a: b}, validation: {hostname: a.example, wellKnownCACertificates: System}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: c-second, namespace: %[1]s}
spec: {targetRefs: [{group: "", kind: Service, name: spare, sectionName: c}], validation: {hostname: a.example, wellKnownCACertificates: System}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: no-section, namespace: %[1]s}
spec: {targetRefs: [{group: "", kind: Service, name: spare, sectionName: e}], validation: {hostname: a.example, wellKnownCACertificates: System}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: no-target, namespace: %[1]s}
spec: {targetRefs: [{group: "", kind: Service, name: nowhere}], validation: {hostname: a.example, wellKnownCACertificates: System}}
`

func otherComplaints() []complaint {
	const no = metav1.ConditionFalse
	policy := func(name, condition, reason string, says ...string) complaint {
		return complaint{"BackendTLSPolicy/" + name, "ancestors[0]", condition, no, reason, says}
	}
	return []complaint{
		{"ListenerSet/taken", "listeners[again]", "Conflicted", metav1.ConditionTrue, "HostnameConflict", []string{"Listener http of the Gateway has the same port, protocol and hostname"}},
		{"ListenerSet/taken", "", "Accepted", no, "ListenersNotValid", []string{"again", "see their conditions"}},
		policy("a-missing", "Accepted", "NoValidCACertificate", "spec.validation.caCertificateRefs", "get 503"),
		policy("a-missing", "ResolvedRefs", "InvalidCACertificateRef", "spec.validation.caCertificateRefs[0]", "/nobody with the key ca.crt"),
		policy("b-kind", "ResolvedRefs", "InvalidKind", "spec.validation.caCertificateRefs[0]", "only ConfigMap"),
		policy("c-first", "Accepted", "Invalid", "spec.options"),
		policy("c-second", "Accepted", "Conflicted", "BackendTLSPolicy c-first has the same target"),
		policy("no-section", "Accepted", "TargetNotFound", "spec.targetRefs[0].sectionName", "it has 1 (a)"),
		policy("no-target", "Accepted", "TargetNotFound", "spec.targetRefs[0]", "/nowhere does not exist"),
	}
}

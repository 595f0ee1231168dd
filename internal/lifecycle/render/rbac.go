// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package render

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"

	"tulle.dev/tulle/internal/gatewaykinds"
	"tulle.dev/tulle/internal/names"
)

const rbacAPI = "rbac.authorization.k8s.io/v1"

// rights are the control plane's service account and what it may do. The operator can only grant
// what it holds itself, so a rule added here must be added to config/rbac too.
//
// The right to read Secrets and ConfigMaps is given only while something refers to one, since RBAC cannot limit
// it to these; and to a release that is not ready without it.
func rights(in Input) []Object {
	cluster := in.meta()
	cluster.Namespace = ""
	secrets := cluster
	secrets.Name += "-gateway-secrets"
	account := []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: in.meta().Name, Namespace: in.Namespace}}
	role := func(kind, name string) rbacv1.RoleRef {
		return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: name}
	}
	everywhere, here := ClusterRules(), NamespaceRules()
	if in.Release.InternalPort() {
		everywhere, here = append(everywhere, InternalClusterRules()...), append(here, InternalRules(in.Mesh.Name)...)
	}
	objects := []Object{
		object("v1", "ServiceAccount", &corev1.ServiceAccount{ObjectMeta: in.meta()}),
		object(rbacAPI, "ClusterRole", &rbacv1.ClusterRole{ObjectMeta: cluster, Rules: everywhere}),
		object(rbacAPI, "ClusterRoleBinding", &rbacv1.ClusterRoleBinding{
			ObjectMeta: cluster, RoleRef: role("ClusterRole", cluster.Name), Subjects: account,
		}),
	}
	if in.References || in.Release.WatchesSecrets() {
		objects = append(objects, object(rbacAPI, "ClusterRoleBinding", &rbacv1.ClusterRoleBinding{
			ObjectMeta: secrets, RoleRef: role("ClusterRole", names.GatewaySecretsRole), Subjects: account,
		}))
	}
	return append(
		objects,
		object(rbacAPI, "Role", &rbacv1.Role{ObjectMeta: in.meta(), Rules: here}),
		object(rbacAPI, "RoleBinding", &rbacv1.RoleBinding{
			ObjectMeta: in.meta(), RoleRef: role("Role", in.meta().Name), Subjects: account,
		}),
	)
}

// ClusterRules is what the control plane may do in the whole cluster: read what it translates,
// check tokens, and write the status of routes and Gateways. It reads no Secret by these.
func ClusterRules() []rbacv1.PolicyRule {
	read := []string{"get", "list", "watch"}
	return []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"services", "pods", "namespaces", "serviceaccounts"}, Verbs: read},
		// Of nodes only the metadata is read: the zone that clients on them are in.
		{APIGroups: []string{""}, Resources: []string{"nodes"}, Verbs: read},
		// Injection keeps to what a namespace allows its containers.
		{APIGroups: []string{""}, Resources: []string{"limitranges", "resourcequotas"}, Verbs: []string{"list"}},
		{APIGroups: []string{"discovery.k8s.io"}, Resources: []string{"endpointslices"}, Verbs: read},
		{APIGroups: []string{"apiextensions.k8s.io"}, Resources: []string{"customresourcedefinitions"}, Verbs: read},
		{APIGroups: []string{"tulle.dev"}, Resources: []string{"meshes"}, Verbs: read},
		{
			APIGroups: []string{"gateway.networking.k8s.io"},
			Resources: gatewayResources("", "gatewayclasses", "gateways", "listenersets", "referencegrants"),
			Verbs:     read,
		},
		{
			APIGroups: []string{"gateway.networking.k8s.io"},
			Resources: gatewayResources("/status", "gateways", "listenersets"),
			Verbs:     []string{"patch", "update"},
		},
		{APIGroups: []string{"authentication.k8s.io"}, Resources: []string{"tokenreviews"}, Verbs: []string{"create"}},
	}
}

// gatewayResources are, sorted, a resource or subresource of each kind of routes and policies, and of these others.
func gatewayResources(sub string, others ...string) []string {
	out := others
	for _, k := range gatewaykinds.All() {
		out = append(out, k.Plural)
	}
	slices.Sort(out)
	for i := range out {
		out[i] += sub
	}
	return out
}

// InternalClusterRules is what a control plane with an internal port may do besides in the whole cluster:
// ask whether a caller may read there.
func InternalClusterRules() []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{
		{APIGroups: []string{"authorization.k8s.io"}, Resources: []string{"subjectaccessreviews"}, Verbs: []string{"create"}},
	}
}

// InternalRules is what it may do besides in its own namespace: read the progress of its other replicas.
func InternalRules(mesh string) []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{{
		APIGroups: []string{names.Group}, Resources: []string{names.ControlPlaneResource + "/" + names.ProgressResource},
		ResourceNames: []string{mesh}, Verbs: []string{"get"},
	}}
}

// NamespaceRules is what the control plane may do in its own namespace: elect a leader among its replicas.
func NamespaceRules() []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{
		// RBAC cannot limit "create" to a name.
		{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: []string{"create"}},
		{
			APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"},
			ResourceNames: []string{names.ControlPlaneService}, Verbs: []string{"get", "update"},
		},
		{APIGroups: []string{""}, Resources: []string{"events"}, Verbs: []string{"create", "patch"}},
	}
}

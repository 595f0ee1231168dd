// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package facts

import (
	"time"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/cli/ports"
)

// Facts is one look at a cluster. The zero value knows nothing.
type Facts struct {
	// At is when the look was taken; ages and expiries count from it.
	At time.Time
	// System is the namespace of the operator and the control plane; further ones that have an operator are
	// in OtherOperators.
	System         string
	OtherOperators []string
	// Server is the API server's version.
	Server Version
	Nodes  []Node
	// Kinds are the installed CRDs of Tulle, cert-manager and the Gateway API, by name ("meshes.tulle.dev").
	Kinds map[string]Kind
	// CertManager, Operator and ControlPlane are Deployments.
	CertManager, Operator, ControlPlane []Workload
	Meshes                              []v1alpha1.Mesh
	Webhooks                            []Webhook
	// Rights are what an installation needs and whether the user has it.
	Rights []Right
	// Namespaces are those that ask for injection.
	Namespaces []Namespace
	// Proxies are the pods that carry a proxy; Bare are those that should and do not.
	Proxies, Bare []Pod
	// World are the Services, their endpoints and routes, and the pods that carry a proxy; it has no Services
	// where no pod does.
	World ports.World
	// Calls are what makes the API server call Services.
	Calls []ports.Call
	// Streams are the proxies that the control plane says are connected.
	Streams []Stream
	// Unfenced are the policies around the operator's rights that are missing or do not deny; Fences are
	// the others.
	Unfenced []string
	Fences   []Fence
	// EphemeralOpen: the policy about ephemeral containers is missing or does not deny.
	EphemeralOpen bool
	// Unread says what could not be read, and why.
	Unread []Unread
}

// Version of a Kubernetes component.
type Version struct {
	Major, Minor int
	Text         string // "v1.36.3"
}

// Before says whether v is older than major.minor.
func (v Version) Before(major, minor int) bool {
	return v.Major < major || v.Major == major && v.Minor < minor
}

// Node is a machine of the cluster.
type Node struct {
	Name    string
	OS      string
	Arch    string
	Kubelet Version
}

// Kind is a CustomResourceDefinition.
type Kind struct {
	Name string
	// Served are the versions that can be asked for.
	Served []string
	// Bundle and Channel are the Gateway API's own annotations; empty for other kinds.
	Bundle, Channel string
	Established     bool
}

// Workload is a Deployment.
type Workload struct {
	Namespace, Name string
	Revision        string
	Image           string
	// Account is the name of its ServiceAccount.
	Account       string
	Ready, Wanted int32
}

// Webhook is one webhook of a configuration that belongs to Tulle.
type Webhook struct {
	Configuration, Name string
	// Service is namespace/name of what is called; Endpoints is how many of it are ready.
	Service   string
	Endpoints int
	// RootsEnd is when the last of the certificates in the CA bundle ends; zero when there is none.
	RootsEnd time.Time
}

// Fence is an admission policy that limits what the operator's account may change.
type Fence struct {
	Policy string
	// Account is the end of the user name that the policy applies to: "system:serviceaccount:NAMESPACE:NAME",
	// or ":NAME" for the account of any namespace. It is empty where the policy's conditions name none.
	Account string
}

// Right is something an installation does, and whether the user may.
type Right struct {
	Verb, Group, Resource string
	Allowed               bool
}

// Namespace asks for injection.
type Namespace struct {
	Name string
	// Enforce is the Pod Security level that is enforced: "", "privileged", "baseline" or "restricted".
	Enforce string
}

// Pod carries a proxy, or should.
type Pod struct {
	Namespace, Name         string
	Kind, Version, Revision string
	Ready                   bool
	// Started: the proxy has had a configuration since it started, connected or not. Only known of Proxies.
	Started bool
	// Asks: the pod asks for a proxy by its own label, whatever its namespace does.
	Asks bool
	// Message is why the pod is not ready, in the kubelet's words.
	Message string
	// Warnings are ways round the mesh that injection recorded.
	Warnings []string
	// Containers are those that are not Tulle's. Only known of Proxies.
	Containers []Container
	Created    time.Time
}

// Container is one of a meshed pod.
type Container struct {
	Name string
	// User is the user that it runs as, where the kubelet reports it, and -1 otherwise.
	User int64
	// BecomesAnyUser: it runs as root, or may, with a capability to become another user or to send packets past
	// the redirection.
	BecomesAnyUser bool
	// OpenHooks are lifecycle hooks that any client in the network can run, as of pods of earlier releases.
	OpenHooks []string
}

// Stream is a proxy's connection to the control plane, as names.PathProxies tells it.
type Stream struct {
	Namespace string    `json:"namespace"`
	Pod       string    `json:"pod"`
	Kind      string    `json:"kind"`
	Version   string    `json:"version"`
	Since     time.Time `json:"since"`
	// Names it subscribes to, those whose current version it does not have yet, and those it rejected.
	Names    int `json:"names"`
	Pending  int `json:"pending"`
	Rejected int `json:"rejected"`
	// Nacks are the rejections in Envoy's words, where the control plane tells them.
	Nacks []Nack `json:"nacks"`
	// Plaintext are the meshed pods that sent it something without the mesh's mutual TLS, of the last half an
	// hour to an hour.
	Plaintext []Plaintext `json:"plaintext"`
	// Replica is the control-plane pod that serves it.
	Replica string `json:"-"`
}

// Nack is a resource that Envoy refused.
type Nack struct {
	Type    string `json:"type"`
	Name    string `json:"name"`
	Message string `json:"message"`
}

// Plaintext is a meshed pod that sent something without the mesh's mutual TLS.
type Plaintext struct {
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	// Count is how many requests and connections came.
	Count uint64 `json:"count"`
}

// What could be unread; the values of Unread.What.
const (
	UnreadNodes        = "nodes"
	UnreadKinds        = "custom resource definitions"
	UnreadCertManager  = "cert-manager's Deployments"
	UnreadSystem       = "Deployments of the system namespace"
	UnreadMeshes       = "Meshes"
	UnreadWebhooks     = "webhook configurations"
	UnreadFence        = "admission policies"
	UnreadRights       = "permissions"
	UnreadNamespaces   = "namespaces"
	UnreadPods         = "pods"
	UnreadServices     = "Services, their endpoints and routes"
	UnreadCalls        = "what the API server calls"
	UnreadControlPlane = "the control plane's list of proxies"
)

// Unread is something that could not be read.
type Unread struct{ What, Why string }

// Missed says whether something could not be read, and why.
func (f Facts) Missed(what string) (string, bool) {
	for _, u := range f.Unread {
		if u.What == what {
			return u.Why, true
		}
	}
	return "", false
}

// ActiveMesh is the Mesh that rules the cluster: the oldest, by name where they are equally old.
func (f Facts) ActiveMesh() (v1alpha1.Mesh, bool) {
	var best *v1alpha1.Mesh
	for i := range f.Meshes {
		m := &f.Meshes[i]
		if best == nil || m.CreationTimestamp.Before(&best.CreationTimestamp) ||
			m.CreationTimestamp.Equal(&best.CreationTimestamp) && m.Name < best.Name {
			best = m
		}
	}
	if best == nil {
		return v1alpha1.Mesh{}, false
	}
	return *best, true
}

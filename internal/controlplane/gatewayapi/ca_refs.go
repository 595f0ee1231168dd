// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"fmt"

	"k8s.io/apimachinery/pkg/util/validation"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
)

// kindConfigMap is the kind that holds the certificates of authorities, under the key ca.crt.
const kindConfigMap = "ConfigMap"

// ClusterTrustBundle, which has no namespace, holds certificates of authorities for the whole cluster.
const (
	kindTrustBundle  = "ClusterTrustBundle"
	groupTrustBundle = "certificates.k8s.io"
)

func isTrustBundle(group gwapiv1.Group, kind gwapiv1.Kind) bool {
	return group == groupTrustBundle && kind == kindTrustBundle
}

// reasonInvalidCA is the same for listeners and for policies.
const reasonInvalidCA = string(gwapiv1.ListenerReasonInvalidCACertificateRef)

// CARef is a reference to certificates of authorities.
type CARef struct {
	Field       string
	Group, Kind string
	// At has no namespace if the kind has none.
	At model.Key
}

// NewCARef is a reference that an object in namespace has.
func NewCARef(field string, group gwapiv1.Group, kind gwapiv1.Kind, namespace string, name gwapiv1.ObjectName) CARef {
	if isTrustBundle(group, kind) {
		namespace = ""
	}
	return CARef{Field: field, Group: string(group), Kind: string(kind), At: model.Key{Namespace: namespace, Name: string(name)}}
}

func (a CARef) ofTrustBundle() bool {
	return isTrustBundle(gwapiv1.Group(a.Group), gwapiv1.Kind(a.Kind))
}

// Unusable says why the certificates can't be used, with badKind as the reason for a kind that is
// not supported; nil: they can.
func (a CARef) Unusable(l Lookup, badKind string) *Problem {
	if a.ofTrustBundle() {
		switch why, found := l.CABundle(a.At); {
		case !found:
			return &Problem{reasonInvalidCA, fmt.Sprintf("%s: there is no ClusterTrustBundle %s", a.Field, a.At.Name)}
		case why != "":
			return &Problem{reasonInvalidCA, fmt.Sprintf("%s: ClusterTrustBundle %s: %s", a.Field, a.At.Name, why)}
		}
		return nil
	}
	if !IsCore(gwapiv1.Group(a.Group)) || a.Kind != kindConfigMap {
		return &Problem{badKind, fmt.Sprintf("%s: %s is not supported, only ConfigMap of the core group and ClusterTrustBundle: put the authorities' certificates into a ConfigMap, under the key ca.crt, and name that%s",
			a.Field, kindText(gwapiv1.Group(a.Group), gwapiv1.Kind(a.Kind)), a.copied())}
	}
	switch why, found := l.CABundle(a.At); {
	case !found:
		return &Problem{reasonInvalidCA, fmt.Sprintf("%s: there is no ConfigMap %s with the key ca.crt", a.Field, a.At)}
	case why != "":
		return &Problem{reasonInvalidCA, fmt.Sprintf("%s: ConfigMap %s: %s", a.Field, a.At, why)}
	}
	return nil
}

// copied is how the authority's certificate in a Secret, as cert-manager makes them, gets into a ConfigMap. It is
// empty for a name that no Secret can have: whoever writes the reference must not write the command.
func (a CARef) copied() string {
	if !IsCore(gwapiv1.Group(a.Group)) || a.Kind != "Secret" ||
		len(validation.IsDNS1123Label(a.At.Namespace)) > 0 || len(validation.IsDNS1123Subdomain(a.At.Name)) > 0 {
		return ""
	}
	return fmt.Sprintf(` (kubectl -n %[1]s create configmap %[2]s --from-literal=ca.crt="$(kubectl -n %[1]s get secret %[2]s -o 'go-template={{index .data "ca.crt" | base64decode}}')")`, a.At.Namespace, a.At.Name)
}

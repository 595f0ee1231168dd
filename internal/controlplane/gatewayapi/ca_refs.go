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

// reasonInvalidCA is the same for listeners and for policies.
const reasonInvalidCA = string(gwapiv1.ListenerReasonInvalidCACertificateRef)

// CARef is a reference to certificates of authorities.
type CARef struct {
	Field       string
	Group, Kind string
	At          model.Key
}

// Unusable says why the certificates can't be used, with badKind as the reason for a kind that is
// not supported; nil: they can.
func (a CARef) Unusable(l Lookup, badKind string) *Problem {
	if !IsCore(gwapiv1.Group(a.Group)) || a.Kind != kindConfigMap {
		return &Problem{badKind, fmt.Sprintf("%s: %s is not supported, only ConfigMap of the core group: put the authorities' certificates into a ConfigMap, under the key ca.crt, and name that%s",
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

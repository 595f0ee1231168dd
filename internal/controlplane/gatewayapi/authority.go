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

// authority is a reference to certificates of authorities.
type authority struct {
	field       string
	group, kind string
	at          model.Key
}

// unusable tells why the certificates can't be used, with badKind as the reason for a kind that is
// not supported; nil: they can.
func (a authority) unusable(l Lookup, badKind string) *problem {
	if !isCore(gwapiv1.Group(a.group)) || a.kind != kindConfigMap {
		return &problem{badKind, fmt.Sprintf("%s: %s is not supported, only ConfigMap of the core group: put the authorities' certificates into a ConfigMap, under the key ca.crt, and name that%s",
			a.field, kindText(gwapiv1.Group(a.group), gwapiv1.Kind(a.kind)), a.copied())}
	}
	switch why, found := l.CABundle(a.at); {
	case !found:
		return &problem{reasonInvalidCA, fmt.Sprintf("%s: there is no ConfigMap %s with the key ca.crt", a.field, a.at)}
	case why != "":
		return &problem{reasonInvalidCA, fmt.Sprintf("%s: ConfigMap %s: %s", a.field, a.at, why)}
	}
	return nil
}

// copied is how the authority's certificate in a Secret, as cert-manager makes them, gets into a ConfigMap. It is
// empty for a name that no Secret can have: whoever writes the reference must not write the command.
func (a authority) copied() string {
	if !isCore(gwapiv1.Group(a.group)) || a.kind != "Secret" ||
		len(validation.IsDNS1123Label(a.at.Namespace)) > 0 || len(validation.IsDNS1123Subdomain(a.at.Name)) > 0 {
		return ""
	}
	return fmt.Sprintf(` (kubectl -n %[1]s create configmap %[2]s --from-literal=ca.crt="$(kubectl -n %[1]s get secret %[2]s -o 'go-template={{index .data "ca.crt" | base64decode}}')")`, a.at.Namespace, a.at.Name)
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"fmt"

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
		return &problem{badKind, fmt.Sprintf("%s: %s/%s is not supported, only ConfigMap of the core group", a.field, a.group, a.kind)}
	}
	switch why, found := l.CABundle(a.at); {
	case !found:
		return &problem{reasonInvalidCA, fmt.Sprintf("%s: there is no ConfigMap %s with the key ca.crt", a.field, a.at)}
	case why != "":
		return &problem{reasonInvalidCA, fmt.Sprintf("%s: ConfigMap %s: %s", a.field, a.at, why)}
	}
	return nil
}

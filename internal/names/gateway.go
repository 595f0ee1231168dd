// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package names

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// maxLabel is the length of a DNS label (RFC 1123) and of a label's value in Kubernetes.
const maxLabel = 63

// GatewayResource returns the name of the Deployment, ServiceAccount, PodDisruptionBudget and
// HorizontalPodAutoscaler made for a Gateway (GEP-1762: name-class). A Gateway may have dots and up to 253
// characters in its name. If the plain name is not a DNS label, dots become dashes, the name is cut, and a
// hash of the whole name follows.
func GatewayResource(gateway string) string { return fitted(gateway, "-"+GatewayClass, "") }

// GatewayService returns the name of the Service made for a Gateway. It is GatewayResource, except for a
// Gateway whose name begins with a digit: before version 1.36 Kubernetes refuses such names for Services
// (RFC 1035).
func GatewayService(gateway string) string {
	if gateway != "" && gateway[0] >= '0' && gateway[0] <= '9' {
		return fitted(gateway, "-"+GatewayClass, "gw-")
	}
	return GatewayResource(gateway)
}

// GatewayLabel returns the value of LabelGateway for a Gateway: its name, shortened with a hash if it is
// too long for a label's value.
func GatewayLabel(gateway string) string {
	if len(gateway) <= maxLabel {
		return gateway
	}
	return cut(gateway, maxLabel-1-hashLength) + "-" + hash(gateway)
}

// fitted returns prefix+gateway+suffix as a DNS label. With a prefix there is always a hash, so that no
// other Gateway is likely to have the same name.
func fitted(gateway, suffix, prefix string) string {
	if prefix == "" && len(gateway)+len(suffix) <= maxLabel && !strings.Contains(gateway, ".") {
		return gateway + suffix
	}
	room := maxLabel - len(prefix) - 1 - hashLength - len(suffix)
	return prefix + cut(strings.ReplaceAll(gateway, ".", "-"), room) + "-" + hash(gateway) + suffix
}

// cut returns the beginning of a name, at most n characters long, that ends in a letter or digit.
func cut(name string, n int) string { return strings.TrimRight(name[:min(n, len(name))], "-.") }

// hashLength is the length of hash.
const hashLength = 8

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])[:hashLength]
}

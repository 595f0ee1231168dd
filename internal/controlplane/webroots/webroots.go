// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package webroots has the authorities that the web trusts, as they were when the release was built:
// those of Mozilla's store. BackendTLSPolicy calls them wellKnownCACertificates: System.
//
// The proxy's image has no authorities of its own, and proxies of one mesh must not differ in whom
// they trust; so the control plane hands them out. Roots that Mozilla trusts only up to a date are left
// out, since a proxy has no way to be told of the date.
package webroots

import (
	"encoding/pem"
	"strings"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// PEM returns the certificates, one after the other, the same in every process of a release.
func PEM() string {
	var out strings.Builder
	for r := range bundle.Roots() {
		if r.Constraint == nil {
			out.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate}))
		}
	}
	return out.String()
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"time"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/protocol"
)

// settingsFrom are the parts of a Mesh that translation reads.
func settingsFrom(m *v1alpha1.Mesh, version, trustDomain string) model.Settings {
	s := model.Settings{
		TrustDomain:                trustDomain,
		Strict:                     m.Spec.MTLS.Mode == v1alpha1.MTLSStrict,
		Version:                    version,
		LogLevel:                   string(m.Spec.Proxy.LogLevel),
		Concurrency:                int(m.Spec.Proxy.Concurrency),
		DrainSeconds:               int32(m.Spec.Proxy.DrainTime.Duration / time.Second),
		CertificateLifetimeSeconds: int64(m.Spec.Certificates.WorkloadLifetime.Duration / time.Second),
	}
	if c := m.Status.Certificates; c != nil && c.RenewIssuedBefore != nil {
		// Agents see when a certificate begins.
		s.RenewIssuedBefore = c.RenewIssuedBefore.Add(-protocol.Backdate).Unix()
	}
	return s
}

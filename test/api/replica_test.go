// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/internal/lifecycle/rotation"
	"tulle.dev/tulle/internal/protocol"
)

// replicaTrust plays a replica of the control plane without proxies: it trusts and signs with what the
// cluster holds now.
func replicaTrust(ctx context.Context, _ []corev1.Pod) []rotation.Replica {
	r := rotation.Replica{Pod: "played"}
	cm, secret := &corev1.ConfigMap{}, &corev1.Secret{}
	if admin.Get(ctx, client.ObjectKey{Namespace: system, Name: "tulle-trust"}, cm) == nil &&
		admin.Get(ctx, client.ObjectKey{Namespace: system, Name: "tulle-intermediate"}, secret) == nil {
		r.Report = &protocol.TrustReport{
			Roots: fingerprints([]byte(cm.Data["ca.crt"])), Intermediates: fingerprints([]byte(cm.Data["intermediates.pem"])),
			Signs: fingerprints(secret.Data["ca.crt"]), Signer: fingerprints(secret.Data["tls.crt"])[0], SignsSince: time.Now(),
		}
	}
	return []rotation.Replica{r}
}

func fingerprints(text []byte) []string {
	var out []string
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return out
		}
		sum := sha256.Sum256(block.Bytes)
		out = append(out, hex.EncodeToString(sum[:]))
	}
}

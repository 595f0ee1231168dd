// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package rotation

import (
	"cmp"
	"crypto/x509"
	"slices"
	"strings"
	"time"

	"tulle.dev/tulle/internal/lifecycle/health"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// replica is one of the control plane: what it has mounted, and what it signs with.
type replica struct {
	bundle string
	// list are the intermediates that it has its proxies require; empty: it has them trust the bundle.
	list  string
	signs *issued
	since time.Time
	// serves is what signed the certificate that it shows to the webhook's callers, agents and the operator.
	serves *issued
	// started: it signs with the intermediate that it started with. held: and that may not sign yet.
	started, held bool
}

// trusted is what it tells its proxies to trust.
func (r *replica) trusted() string { return cmp.Or(r.list, r.bundle) }

func (w *world) report(i int, r *replica) *protocol.TrustReport {
	out := &protocol.TrustReport{
		Roots: w.ids(r.bundle), Intermediates: w.ids(r.list), Signs: []string{health.Fingerprint(r.signs.root)},
		Signer: health.Fingerprint(r.signs.cert), SignsSince: r.since,
		Serves: health.Fingerprint(r.serves.cert),
	}
	for _, p := range w.proxies {
		if p.at == i {
			out.Proxies = append(out.Proxies, protocol.ProxyTrust{
				Namespace: "a", Pod: p.name, Acknowledged: p.bundle == r.trusted(),
				Roots: []string{health.Fingerprint(p.root)}, Signer: health.Fingerprint(p.signer), NotAfter: p.notBefore.Add(24 * time.Hour),
			})
		}
	}
	if w.former {
		out.Signer, out.Serves, out.Intermediates = "", "", nil
		for i := range out.Proxies {
			out.Proxies[i].Signer = ""
		}
	}
	return out
}

// mount lets a replica see what it has mounted, and sign with it by the rules of package ca.
func (w *world) mount(r *replica) {
	x := w.secrets[names.IntermediateSecret]
	if x == nil || w.spread == "" {
		return
	}
	r.bundle, r.list = w.spread, ""
	required := w.anchors.Intermediates != "" && !w.former
	cleared := func(c *x509.Certificate) bool {
		return !required || strings.Contains(w.anchors.Signers, health.Fingerprint(c))
	}
	if r.signs != x {
		trusted := slices.Contains(w.ids(r.bundle), health.Fingerprint(x.root))
		first := r.signs == nil
		if first || w.early || trusted && cleared(x.cert) && !w.now.Before(x.cert.NotBefore.Add(w.skew)) {
			r.signs, r.since, r.started = x, w.now, first
		}
	}
	if r.serves == nil || w.now.Sub(r.since) >= 2*time.Minute {
		r.serves = r.signs
	}
	r.held = r.started && !w.early && !cleared(r.signs.cert)
	if required {
		r.list = w.anchors.Intermediates
		for _, c := range []*x509.Certificate{x.cert, r.signs.cert} { // what it has in hand
			if !slices.Contains(w.ids(r.list), health.Fingerprint(c)) {
				r.list += string(text(c))
			}
		}
	}
}

// restart has a replica lose what it has in memory.
func (w *world) restart(r *replica) {
	r.signs, r.serves = nil, nil
	w.mount(r)
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"tulle.dev/tulle/internal/controlplane/ca"
	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/rights"
	"tulle.dev/tulle/internal/controlplane/xds"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// connected is the xDS principal: a proxy, or a client without one, whose pod is known and alive.
type connected struct {
	rights.Proxy
	// roots are those by which its certificate was verified, signer is what signed it, notAfter is when that ends.
	roots    []string
	signer   string
	notAfter time.Time
}

// String names the proxy for people.
func (c connected) String() string { return c.Namespace + "/" + c.Pod }

// maxDials is how many destinations a proxy may ask for at a time: as many as its agent keeps.
const maxDials = 1000

// serverOptions are those of the ADS server, but for where it logs and counts.
func (f *feed) serverOptions() xds.Options {
	return xds.Options{
		Authenticate: f.authenticate, Authorize: authorize, Rename: rename, Places: f.zones.places, MaxAge: streamAge, Notes: []string{protocol.ReportType},
		OnInterest: f.asked.dial,
		Bounded:    func(k xds.Key) bool { return k.TypeURL == envoy.ClusterType && names.IsDestination(k.Name) }, MaxBounded: maxDials,
		OnProgress: func(keys []xds.Key) {
			f.ledger.Touch(keys)
			f.asked.touch(keys)
		},
	}
}

// authenticate names the client of a stream: the pod in its certificate must be the live pod of that
// UID, and a Gateway's proxy must run as the account the operator made for that Gateway.
func (f *feed) authenticate(ctx context.Context) (xds.Principal, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil, errors.New("no peer")
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.PeerCertificates) == 0 {
		return nil, errors.New("a client certificate of the mesh is needed")
	}
	who, err := ca.PrincipalFromCert(info.State.PeerCertificates[0], f.trust)
	if err != nil {
		return nil, err
	}
	k := model.Key{Namespace: who.Namespace, Name: who.Pod}
	w, ok := f.workload(k)
	switch {
	case !ok || w.UID != who.PodUID:
		return nil, fmt.Errorf("pod %s with UID %s is not known", k, who.PodUID)
	case w.Ended:
		return nil, fmt.Errorf("pod %s has ended", k)
	case w.ServiceAccount != who.ServiceAccount || w.Kind != who.Kind:
		return nil, fmt.Errorf("the certificate of pod %s is not for its account and kind", k)
	}
	c := connected{
		Proxy: rights.Proxy{Namespace: who.Namespace, Pod: who.Pod, Kind: who.Kind, Node: w.Node},
		roots: ca.RootsOf(info.State.VerifiedChains), signer: ca.SignerOf(info.State.VerifiedChains), notAfter: info.State.PeerCertificates[0].NotAfter,
	}
	if who.Kind == names.KindGateway {
		if who.ServiceAccount != names.GatewayResource(w.Gateway) {
			return nil, fmt.Errorf("pod %s claims Gateway %s, but does not run as its account %s", k, w.Gateway, names.GatewayResource(w.Gateway))
		}
		c.Gateway = w.Gateway
	}
	return c, nil
}

func authorize(p xds.Principal, k xds.Key) bool {
	c, ok := p.(connected)
	return ok && rights.Allow(c.Proxy, k.Name)
}

func keyOf(c connected) model.Key { return model.Key{Namespace: c.Namespace, Name: c.Pod} }

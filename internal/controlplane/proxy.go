// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"google.golang.org/grpc/peer"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/controlplane/ca"
	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/intake"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/rights"
	"tulle.dev/tulle/internal/controlplane/xds"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// connected is the xDS principal: a proxy, or a client without one, whose pod is known and alive.
type connected struct {
	rights.Proxy
	// uid and account are those of the pod, as its certificate names them.
	uid, account string
	// roots are those by which its certificate was verified, signer is what signed it, notAfter is when that ends.
	roots    []string
	signer   string
	notAfter time.Time
}

// String names the proxy for people.
func (c connected) String() string { return c.Namespace + "/" + c.Pod }

// maxDials is how many destinations a proxy may ask for at a time: as many as its agent keeps. The two agents of a
// pod, during an upgrade, may ask for twice as many together.
const maxDials = 1000

// How many streams a pod may have. The agent of each slot has one, and opens another one with each
// certificate, while the server may not have noticed the end of the one before. gRPC libraries have one
// for each target that the program dials.
const (
	proxyStreams  = 4
	clientStreams = 32
)

// serverOptions are those of the ADS server, but for where it logs and counts.
func (f *feed) serverOptions() xds.Options {
	return xds.Options{
		Authenticate: f.authenticate, Authorize: authorize, Rename: rename, Places: f.zones.places, MaxAge: streamAge,
		Owner: owner, Verify: f.verify, Expires: expires, Handled: intake.Handled, Ended: intake.Ended,
		Notes: []string{protocol.ReportType}, NoteFields: []string{protocol.MetaReport},
		NodeFields: []string{protocol.MetaVersion, protocol.MetaEnvoy, protocol.MetaSlot},
		OnInterest: f.asked.dial,
		Bounded:    func(k xds.Key) bool { return k.TypeURL == envoy.ClusterType && names.IsDestination(k.Name) }, MaxBounded: maxDials,
		OnProgress: func(keys []xds.Key) {
			f.ledger.Touch(keys)
			f.asked.touch(keys)
		},
	}
}

// authenticate names the client of a stream: the pod in its certificate must be the live pod of that
// UID, and a Gateway's proxy must run as the account the operator made for that Gateway. The stream must
// come from the pod itself, so that a stolen key is of no use elsewhere, unless the Mesh has this check disabled.
func (f *feed) authenticate(ctx context.Context) (xds.Principal, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil, errors.New("no peer")
	}
	info, ok := intake.TLS(p.AuthInfo)
	if !ok || len(info.State.PeerCertificates) == 0 {
		return nil, errors.New("a client certificate of the mesh is needed")
	}
	who, err := ca.PrincipalFromCert(info.State.PeerCertificates[0], f.trust)
	if err != nil {
		return nil, err
	}
	c := connected{
		Proxy: rights.Proxy{Namespace: who.Namespace, Pod: who.Pod, Kind: who.Kind}, uid: who.PodUID, account: who.ServiceAccount,
		roots: ca.RootsOf(info.State.VerifiedChains), signer: ca.SignerOf(info.State.VerifiedChains), notAfter: info.State.PeerCertificates[0].NotAfter,
	}
	w, err := f.live(c)
	if err != nil {
		return nil, err
	}
	if from := addressOf(p.Addr); !w.HasAddress(from) && !f.anyAddress() {
		return nil, fmt.Errorf("the stream for pod %s came from %s, which is not an address of that pod; %s", c, from, ca.RewrittenAddresses)
	}
	c.Node = w.Node
	if c.Kind == names.KindGateway {
		c.Gateway = w.Gateway
	}
	return c, nil
}

// anyAddress tells whether streams and requests for certificates may come from addresses that are not their pod's.
func (f *feed) anyAddress() bool {
	mesh := f.meshNow()
	return mesh != nil && mesh.Spec.ControlPlane.SourceAddressCheck == v1alpha1.SourceAddressCheckDisabled
}

// countedAs returns for which address the connections of a proxy to the ADS port are counted; if invalid, for the one
// that they come from. If many pods have one address in common, each pod has one of its own, made from its UID.
func (f *feed) countedAs(state tls.ConnectionState) netip.Addr {
	if !f.anyAddress() || len(state.PeerCertificates) == 0 {
		return netip.Addr{}
	}
	who, err := ca.PrincipalFromCert(state.PeerCertificates[0], f.trust)
	if err != nil {
		return netip.Addr{} // its streams are refused
	}
	sum := sha256.Sum256([]byte(who.PodUID))
	return netip.AddrFrom16([16]byte(sum[:16]))
}

// namespaceOf returns the namespace of a client of the ADS port, by its certificate; "" if that names none.
func (f *feed) namespaceOf(state tls.ConnectionState) string {
	if len(state.PeerCertificates) == 0 {
		return ""
	}
	who, err := ca.PrincipalFromCert(state.PeerCertificates[0], f.trust)
	if err != nil {
		return "" // its streams are refused
	}
	return who.Namespace
}

// live returns the pod of a proxy, or why it is not, or not any more, the one that its certificate names.
func (f *feed) live(c connected) (model.Workload, error) {
	w, ok := f.workload(keyOf(c))
	switch {
	case !ok || w.UID != c.uid:
		return w, fmt.Errorf("pod %s with UID %s is not known", c, c.uid)
	case w.Ended:
		return w, fmt.Errorf("pod %s has ended", c)
	case w.ServiceAccount != c.account || w.Kind != c.Kind:
		return w, fmt.Errorf("the certificate of pod %s is not for its account and kind", c)
	case c.Kind == names.KindGateway && c.account != names.GatewayResource(w.Gateway):
		return w, fmt.Errorf("pod %s claims Gateway %s, but does not run as its account %s", c, w.Gateway, names.GatewayResource(w.Gateway))
	}
	return w, nil
}

// verify returns why a proxy may not have its stream any more. It rests on what the API server has
// reported: while there is no news, streams stay.
func (f *feed) verify(p xds.Principal) error {
	c, ok := p.(connected)
	if !ok {
		return errors.New("unknown client")
	}
	w, err := f.live(c)
	if err != nil {
		return err
	}
	if w.Gateway != c.Gateway && c.Kind == names.KindGateway {
		return fmt.Errorf("pod %s is of Gateway %s now, not of %s", c, w.Gateway, c.Gateway)
	}
	return nil
}

// owner is the pod: what its streams use is counted together.
func owner(p xds.Principal) xds.Owner {
	c, ok := p.(connected)
	if !ok {
		return xds.Owner{}
	}
	if c.Kind == names.KindClient {
		return xds.Owner{Key: keyOf(c), Streams: clientStreams, Group: c.Namespace}
	}
	return xds.Owner{Key: keyOf(c), Streams: proxyStreams, Group: c.Namespace}
}

// expires is when the certificate of a stream ends.
func expires(p xds.Principal) time.Time {
	c, _ := p.(connected)
	return c.notAfter
}

// addressOf is the invalid address for what is not IP.
func addressOf(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr()
	}
	return netip.Addr{}
}

func authorize(p xds.Principal, k xds.Key) bool {
	c, ok := p.(connected)
	return ok && rights.Allow(c.Proxy, k.Name)
}

func keyOf(c connected) model.Key { return model.Key{Namespace: c.Namespace, Name: c.Pod} }

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package dataplane

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"tulle.dev/tulle/internal/controlplane/xds"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// control is a small control plane in the peer: it signs, and serves delta ADS as the protocol says:
// each change goes to the streams that subscribe to it, one response per type unanswered at a time.
type control struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer

	t    *testing.T
	ca   *authority
	peer *space

	mu        sync.Mutex // guards the rest
	lifetime  time.Duration
	signed    int
	resources map[string]map[string]*discoveryv3.Resource // type, name
	streams   map[*stream]bool
	log       []answer
	sent      int // resources, over all streams
	servers   []func()
	reports   []report    // of agents, in order
	store     *xds.Store  // nil: the ADS server is this one
	real      *xds.Server // of that store
}

// answer is an ACK or NACK of a proxy.
type answer struct {
	typeURL  string
	versions map[string]string
	nack     string
}

// report is what the agent of a slot told.
type report struct {
	slot string
	protocol.Report
}

// stream is a proxy's.
type stream struct {
	slot  string
	wake  chan struct{}
	types map[string]*subscription
}

type subscription struct {
	names    map[string]string // with the version that the proxy has; "-": told that there is none
	inflight map[string]string
	nonce    string
	nacked   map[string]string
}

func newControl(t *testing.T, peer *space) *control {
	c := &control{
		t: t, ca: newAuthority(t), peer: peer, lifetime: time.Hour,
		resources: map[string]map[string]*discoveryv3.Resource{}, streams: map[*stream]bool{},
	}
	t.Cleanup(c.stop)
	return c
}

// start serves; stop ends it as a crash would.
func (c *control) start() {
	c.t.Helper()
	serving := c.ca.identity(c.t, "")
	sign, err := c.peer.listen(0, net.JoinHostPort(peerIP, fmt.Sprint(names.PortSign)))
	if err != nil {
		c.t.Fatal(err)
	}
	ads, err := c.peer.listen(0, net.JoinHostPort(peerIP, fmt.Sprint(names.PortADS)))
	if err != nil {
		c.t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+protocol.SignPath, c.sign)
	h := &http.Server{Handler: mux, TLSConfig: &tls.Config{Certificates: []tls.Certificate{serving}, MinVersion: tls.VersionTLS13}}
	go h.ServeTLS(sign, "", "")
	g := c.newServer(grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{serving}, MinVersion: tls.VersionTLS13,
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: c.ca.pool(),
	})))
	go g.Serve(ads)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.servers = append(c.servers, func() { h.Close() }, g.Stop)
}

// newServer makes the ADS server: this one, or the mesh's own.
func (c *control) newServer(opts ...grpc.ServerOption) *grpc.Server {
	if c.store != nil {
		return c.realServer(opts...)
	}
	g := grpc.NewServer(opts...)
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(g, c)
	return g
}

func (c *control) stop() {
	c.mu.Lock()
	servers := c.servers
	c.servers = nil
	c.mu.Unlock()
	for _, s := range servers {
		s()
	}
}

func (c *control) sign(w http.ResponseWriter, r *http.Request) {
	var q protocol.SignRequest
	fail := func(code int, message string) {
		w.WriteHeader(code)
		json.NewEncoder(w).Encode(protocol.SignError{Message: message})
	}
	if r.Header.Get("Authorization") != "Bearer token-of-cart" {
		fail(http.StatusUnauthorized, "the token is not valid")
		return
	}
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil || q.Pod != "cart-0" || q.PodUID != "uid-1" {
		fail(http.StatusForbidden, fmt.Sprintf("pod %q is not a live pod of this mesh", q.Pod))
		return
	}
	block, _ := pem.Decode([]byte(q.CSR))
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err == nil {
		err = csr.CheckSignature()
	}
	if err != nil {
		fail(http.StatusBadRequest, err.Error())
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	chain, err := c.ca.sign(csr.PublicKey, spiffe("cart"), c.lifetime)
	if err != nil {
		fail(http.StatusInternalServerError, err.Error())
		return
	}
	c.signed++
	json.NewEncoder(w).Encode(protocol.SignResponse{Chain: string(chain), Roots: string(c.ca.pem)})
}

// put sets resources; a nil body removes.
func (c *control) put(name, version string, m proto.Message) {
	c.t.Helper()
	a, err := anypb.New(m)
	if err != nil {
		c.t.Fatal(err)
	}
	c.set(a.GetTypeUrl(), &discoveryv3.Resource{Name: name, Version: version, Resource: a})
}

func (c *control) putScope(name, version string, s protocol.Scope) {
	c.t.Helper()
	b, err := json.Marshal(s)
	if err != nil {
		c.t.Fatal(err)
	}
	c.set(protocol.ScopeType, &discoveryv3.Resource{Name: name, Version: version, Resource: &anypb.Any{TypeUrl: protocol.ScopeType, Value: b}})
}

func (c *control) set(url string, r *discoveryv3.Resource) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.resources[url] == nil {
		c.resources[url] = map[string]*discoveryv3.Resource{}
	}
	c.resources[url][r.GetName()] = r
	c.commit(url, r.GetName(), r)
	c.wake()
}

func (c *control) remove(url, name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.resources[url], name)
	c.commit(url, name, nil)
	c.wake()
}

func (c *control) wake() {
	for s := range c.streams {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// answers are what proxies have said so far about a resource's version.
func (c *control) answers(name, version string) (acks int, nacks []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.log {
		if v, ok := a.versions[name]; !ok || v != version {
			continue
		}
		if a.nack == "" {
			acks++
		} else {
			nacks = append(nacks, a.nack)
		}
	}
	return acks, nacks
}

// counts are the resources sent and the certificates signed so far.
func (c *control) counts() (sent, signed, streams int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent, c.signed, len(c.streams)
}

// DeltaAggregatedResources serves one proxy.
func (c *control) DeltaAggregatedResources(ss discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	s := &stream{wake: make(chan struct{}, 1), types: map[string]*subscription{}}
	c.mu.Lock()
	c.streams[s] = true
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.streams, s)
		c.mu.Unlock()
	}()
	failed := make(chan error, 1)
	go func() {
		first := true
		for {
			r, err := ss.Recv()
			if err == nil && first && r.GetNode().GetId() != "sidecar.shop.cart-0.uid-1" {
				err = fmt.Errorf("node is %q", r.GetNode().GetId())
			}
			if first {
				s.slot = r.GetNode().GetMetadata().GetFields()[protocol.MetaSlot].GetStringValue()
			}
			first = false
			if err != nil {
				failed <- err
				return
			}
			c.receive(s, r)
		}
	}()
	for {
		for {
			r := c.next(s)
			if r == nil {
				break
			}
			if err := ss.Send(r); err != nil {
				return err
			}
		}
		select {
		case err := <-failed:
			return err
		case <-s.wake:
		}
	}
}

func (c *control) receive(s *stream, r *discoveryv3.DeltaDiscoveryRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer func() {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}()
	if r.GetTypeUrl() == protocol.ReportType {
		told := report{slot: s.slot}
		if err := json.Unmarshal([]byte(r.GetNode().GetMetadata().GetFields()[protocol.MetaReport].GetStringValue()), &told.Report); err != nil {
			c.t.Errorf("report of slot %s: %v", s.slot, err)
		}
		c.reports = append(c.reports, told)
		return
	}
	sub := s.types[r.GetTypeUrl()]
	if sub == nil {
		sub = &subscription{names: map[string]string{}, nacked: map[string]string{}}
		s.types[r.GetTypeUrl()] = sub
		if len(r.GetResourceNamesSubscribe()) == 0 {
			c.t.Errorf("the first request for %s subscribes to everything", r.GetTypeUrl())
		}
	}
	for _, n := range r.GetResourceNamesSubscribe() {
		sub.names[n] = r.GetInitialResourceVersions()[n]
	}
	for _, n := range r.GetResourceNamesUnsubscribe() {
		delete(sub.names, n)
	}
	if sub.nonce == "" || r.GetResponseNonce() != sub.nonce {
		return
	}
	a := answer{typeURL: r.GetTypeUrl(), versions: sub.inflight, nack: r.GetErrorDetail().GetMessage()}
	for n, v := range sub.inflight {
		if _, ok := sub.names[n]; !ok {
			continue
		}
		if a.nack == "" {
			sub.names[n] = v
		} else {
			sub.nacked[n] = v
		}
	}
	c.log = append(c.log, a)
	sub.nonce, sub.inflight = "", nil
}

// next is what may be sent now.
func (c *control) next(s *stream) *discoveryv3.DeltaDiscoveryResponse {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, url := range slices.Sorted(maps.Keys(s.types)) {
		sub := s.types[url]
		if sub.nonce != "" {
			continue
		}
		r := &discoveryv3.DeltaDiscoveryResponse{TypeUrl: url}
		sub.inflight = map[string]string{}
		for _, n := range slices.Sorted(maps.Keys(sub.names)) {
			has := sub.names[n]
			x := c.resources[url][n]
			switch {
			case x == nil && has != "-":
				r.RemovedResources = append(r.RemovedResources, n)
				sub.inflight[n] = "-"
			case x != nil && has != x.GetVersion() && sub.nacked[n] != x.GetVersion():
				r.Resources = append(r.Resources, x)
				sub.inflight[n] = x.GetVersion()
			}
		}
		if len(sub.inflight) == 0 {
			continue
		}
		c.sent += len(r.GetResources())
		sub.nonce = fmt.Sprintf("%s/%d/%d", url, len(c.log), c.sent)
		r.Nonce = sub.nonce
		return r
	}
	return nil
}

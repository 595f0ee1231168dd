// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/anypb"

	"tulle.dev/tulle/internal/controlplane/envoy"
)

// ads serves each proxy the resources that a test sets for it, by delta ADS over a unix socket, and
// remembers what was refused. It is a few lines of the protocol on purpose: what is tested is what
// Envoy does with the resources.
type ads struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer
	socket string
	limits // of proxies that start

	mu      sync.Mutex // guards what follows
	held    map[string]map[envoy.Ref]item
	streams map[string]*adsStream
	refused map[string]string
}

// limits are those of an Envoy: of its heap in bytes, and of its open files. 0 is none.
type limits struct{ heap, files uint64 }

type item struct {
	version string
	body    *anypb.Any
}

func newADS(t *testing.T, dir string) *ads {
	t.Helper()
	s := &ads{
		socket: filepath.Join(dir, "xds.sock"),
		held:   map[string]map[envoy.Ref]item{}, streams: map[string]*adsStream{}, refused: map[string]string{},
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", s.socket)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(s.socket, 0o666); err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(g, s)
	go g.Serve(l)
	t.Cleanup(g.Stop)
	return s
}

// order is make-before-break: clusters before what names them.
func order() []string {
	return []string{envoy.ClusterType, envoy.EndpointsType, envoy.ExtensionType, envoy.ListenerType, envoy.RoutesType, envoy.SecretType}
}

// set replaces what a proxy is to hold and returns the versions by resource.
func (s *ads) set(t *testing.T, node string, resources []envoy.Resource) map[envoy.Ref]string {
	t.Helper()
	held, versions := map[envoy.Ref]item{}, map[envoy.Ref]string{}
	for _, r := range resources {
		body, err := r.Body()
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(body)
		v := hex.EncodeToString(sum[:6])
		held[r.Ref()] = item{v, &anypb.Any{TypeUrl: r.TypeURL, Value: body}}
		versions[r.Ref()] = v
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[node] = held
	delete(s.refused, node)
	if st := s.streams[node]; st != nil {
		for _, typ := range order() {
			if err := st.push(typ, held); err != nil {
				t.Fatal(err)
			}
		}
	}
	return versions
}

// refusal is Envoy's last NACK since set, or "".
func (s *ads) refusal(node string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused[node]
}

// waiting is a type that the proxy has not answered yet, or "".
func (s *ads) waiting(node string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.streams[node]; st != nil {
		for url, typ := range st.types {
			if typ.pending != "" {
				return url
			}
		}
	}
	return ""
}

type adsStream struct {
	stream grpc.BidiStreamingServer[discoveryv3.DeltaDiscoveryRequest, discoveryv3.DeltaDiscoveryResponse]
	types  map[string]*adsType
	nonce  int
}

type adsType struct {
	wildcard bool
	names    map[string]bool
	sent     map[string]string
	pending  string // nonce of a response that is not answered yet
}

// DeltaAggregatedResources serves one proxy.
func (s *ads) DeltaAggregatedResources(stream grpc.BidiStreamingServer[discoveryv3.DeltaDiscoveryRequest, discoveryv3.DeltaDiscoveryResponse]) error {
	st := &adsStream{stream: stream, types: map[string]*adsType{}}
	node := ""
	for {
		req, err := stream.Recv()
		if err != nil {
			return err
		}
		if node == "" {
			node = req.GetNode().GetId()
		}
		if err := s.request(st, node, req); err != nil {
			return err
		}
	}
}

func (s *ads) request(st *adsStream, node string, req *discoveryv3.DeltaDiscoveryRequest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams[node] = st
	if typ := st.types[req.GetTypeUrl()]; typ != nil && req.GetResponseNonce() == typ.pending {
		typ.pending = ""
	}
	if e := req.GetErrorDetail(); e != nil {
		s.refused[node] = req.GetTypeUrl() + ": " + e.GetMessage()
		return nil
	}
	typ := st.types[req.GetTypeUrl()]
	if typ == nil {
		typ = &adsType{wildcard: len(req.GetResourceNamesSubscribe()) == 0, names: map[string]bool{}, sent: map[string]string{}}
		st.types[req.GetTypeUrl()] = typ
	} else if len(req.GetResourceNamesSubscribe())+len(req.GetResourceNamesUnsubscribe()) == 0 {
		return nil // an acknowledgement
	}
	for _, n := range req.GetResourceNamesSubscribe() {
		typ.names[n] = true
		delete(typ.sent, n) // asked for anew: sent anew
	}
	for _, n := range req.GetResourceNamesUnsubscribe() {
		delete(typ.names, n)
		delete(typ.sent, n)
	}
	return st.push(req.GetTypeUrl(), s.held[node])
}

// absent stands for the version of what a proxy was told does not exist.
const absent = "-"

// push sends what of a type is new, changed or gone.
func (st *adsStream) push(url string, held map[envoy.Ref]item) error {
	typ := st.types[url]
	if typ == nil {
		return nil
	}
	st.nonce++
	resp := &discoveryv3.DeltaDiscoveryResponse{TypeUrl: url, Nonce: fmt.Sprint(st.nonce), SystemVersionInfo: fmt.Sprint(st.nonce)}
	for ref, it := range held {
		if ref.TypeURL == url && (typ.wildcard || typ.names[ref.Name]) && typ.sent[ref.Name] != it.version {
			resp.Resources = append(resp.Resources, &discoveryv3.Resource{Name: ref.Name, Version: it.version, Resource: it.body})
			typ.sent[ref.Name] = it.version
		}
	}
	for name, version := range typ.sent {
		if _, ok := held[envoy.Ref{TypeURL: url, Name: name}]; !ok && version != absent {
			resp.RemovedResources = append(resp.RemovedResources, name)
			delete(typ.sent, name)
		}
	}
	for name := range typ.names { // what doesn't exist is said at once: Envoy would wait for it
		if url == envoy.ClusterType { // asked for on demand: waits for a test to set it
			continue
		}
		if _, ok := held[envoy.Ref{TypeURL: url, Name: name}]; !ok && typ.sent[name] == "" {
			if !slices.Contains(resp.GetRemovedResources(), name) {
				resp.RemovedResources = append(resp.RemovedResources, name)
			}
			typ.sent[name] = absent
		}
	}
	if len(resp.GetResources())+len(resp.GetRemovedResources()) == 0 {
		return nil
	}
	typ.pending = resp.GetNonce()
	return st.stream.Send(resp)
}

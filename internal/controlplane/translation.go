// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/xds"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// resourceTypes are all types that are served, in the order of reference: what is referred to comes
// before what refers to it.
func resourceTypes() []xds.Type {
	return []xds.Type{
		{URL: protocol.ScopeType, Leading: true, Quiet: true},
		{URL: envoy.SecretType, Quiet: true},
		{URL: envoy.ClusterType, Whole: true},
		{URL: envoy.EndpointsType},
		{URL: envoy.RoutesType},
		{URL: envoy.RoutePartType},
		{URL: envoy.ExtensionType},
		{URL: envoy.ListenerType, Whole: true},
	}
}

// translation answers names.PathTranslation. It changes nothing and shows no secret.
func (r *replica) translation(w http.ResponseWriter, req *http.Request) {
	q := req.URL.Query()
	if q.Has("type") || q.Has("name") {
		r.resource(w, xds.Key{TypeURL: q.Get("type"), Name: q.Get("name")})
		return
	}
	text, err := r.told.get(r.feed)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	send(w, text)
}

// resource answers with one resource as JSON.
func (r *replica) resource(w http.ResponseWriter, k xds.Key) {
	res, ok := r.feed.store.Get(k)
	if !ok {
		http.Error(w, "there is no such resource: want ?type=TYPE-URL&name=NAME of one that is listed without them", http.StatusNotFound)
		return
	}
	b, err := show(res)
	switch {
	case errors.Is(err, errSecret):
		http.Error(w, err.Error(), http.StatusForbidden)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		send(w, b)
	}
}

// translation is what this replica makes of the cluster.
func (f *feed) translation() protocol.Translation {
	t := f.translationHead()
	t.Resources = translated(f.store)
	return t
}

// translationHead is the translation without its resources. While it stays the same, so do they.
func (f *feed) translationHead() protocol.Translation {
	t := protocol.Translation{Version: f.version, Commit: f.store.Seq(), Synced: f.isSynced(), Rejected: f.writer.Faults()}
	f.mu.RLock()
	defer f.mu.RUnlock()
	for _, p := range f.failures {
		t.Failed = append(t.Failed, failed(p))
	}
	return t
}

func failed(p incr.Failure) protocol.FailedTranslation {
	return protocol.FailedTranslation{Step: p.Collection, Key: fmt.Sprint(p.Key), Problem: p.Problem}
}

// translated hashes all resources of a store, by type and name.
func translated(s *xds.Store) map[string]map[string]string {
	out := map[string]map[string]string{}
	for _, kind := range resourceTypes() {
		hashes := map[string]string{}
		for _, r := range s.List(kind.URL) {
			if !names.IsClient(r.Name) && !names.IsOnDemand(r.Name) { // made for those who ask this replica: no other has the same
				hashes[r.Name] = hash(r)
			}
		}
		if len(hashes) > 0 {
			out[kind.URL] = hashes
		}
	}
	return out
}

// hash is 96 bits of SHA-256 of a resource's contents, unlike its version, which is of what it was
// made from and of the translator. Bodies are marshalled in one order of fields and map keys, so the
// same contents are the same bytes. A private key doesn't go in: of such a secret it is the hash of
// its certificate. What clients at certain places get instead goes in as well.
func hash(r xds.Resource) string {
	b := r.Body
	if r.TypeURL == envoy.SecretType {
		s := &tlsv3.Secret{}
		if err := proto.Unmarshal(b, s); err != nil {
			return "unreadable"
		}
		if s.GetValidationContext() == nil {
			b = s.GetTlsCertificate().GetCertificateChain().GetInlineBytes()
		}
	}
	for _, v := range r.Variants {
		b = slices.Concat(b, []byte(v.Place), []byte{0}, v.Body)
	}
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:12])
}

var errSecret = errors.New(protocol.HiddenResource)

// show writes a resource as indented JSON, the same each time: one with variants as an object of what all
// other clients get, under "", and the variants by their places.
func show(r xds.Resource) ([]byte, error) {
	text, err := body(r)
	if err != nil {
		return nil, err
	}
	if len(r.Variants) > 0 {
		all := map[string]json.RawMessage{"": text}
		for _, v := range r.Variants {
			if all[v.Place], err = body(xds.Resource{Key: r.Key, Body: v.Body}); err != nil {
				return nil, err
			}
		}
		if text, err = json.Marshal(all); err != nil {
			return nil, fmt.Errorf("show %s: %w", r.Key, err)
		}
	}
	var b bytes.Buffer
	if err := json.Indent(&b, text, "", "  "); err != nil {
		return nil, fmt.Errorf("show %s: %w", r.Key, err)
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// body is a resource's contents as JSON.
func body(r xds.Resource) ([]byte, error) {
	text := r.Body
	if r.TypeURL != protocol.ScopeType && r.TypeURL != protocol.RoutePartType { // which are JSON
		kind, err := protoregistry.GlobalTypes.FindMessageByURL(r.TypeURL)
		if err != nil {
			return nil, fmt.Errorf("show %s: %w", r.Key, err)
		}
		m := kind.New().Interface()
		if err := proto.Unmarshal(r.Body, m); err != nil {
			return nil, fmt.Errorf("show %s: %w", r.Key, err)
		}
		if s, ok := m.(*tlsv3.Secret); ok && s.GetValidationContext() == nil {
			return nil, errSecret
		}
		if text, err = (protojson.MarshalOptions{}).Marshal(m); err != nil {
			return nil, fmt.Errorf("show %s: %w", r.Key, err)
		}
	}
	return text, nil
}

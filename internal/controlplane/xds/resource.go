// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package xds

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// Key identifies a resource. Keys are comparable; the zero Key is none.
type Key struct{ TypeURL, Name string }

// String is the name and the last part of the type, for people.
func (k Key) String() string {
	return k.Name + " (" + k.TypeURL[strings.LastIndexByte(k.TypeURL, '.')+1:] + ")"
}

// Resource is one resource as it is to be served. It must not change once it
// has been committed.
type Resource struct {
	Key
	// Version names the contents: equal versions mean equal contents, in every
	// replica. Empty means VersionOf(Body).
	Version string
	// Body is the marshalled message, without the Any around it.
	Body []byte
	// Needs are the resources that this one refers to and that a proxy must
	// have before it. References that the proxy follows by itself after it got
	// this resource (secrets, for Envoy) belong here only if they may wait.
	Needs []Key
	// Companion, if not zero, is a resource that must be sent after this one
	// whenever this one is sent, changed or not: the endpoints of a cluster,
	// without which Envoy does not finish warming it (envoy#13009). The
	// companion itself has no Companion.
	Companion Key
	// Variants are what clients at certain places (Options.Places) get in place of Version and Body, in
	// any order, each place once. A resource with Variants has neither Needs nor a Companion.
	Variants []Variant
}

// Variant is what clients at one place get of a resource. Name and type are the resource's.
type Variant struct {
	Place string
	// Version and Body are as a Resource's. A variant of the same contents as another one should have the
	// same version: then a client that comes to use the other one is sent nothing.
	Version string
	Body    []byte
}

// Change is one part of a commit.
type Change struct {
	// Resource is set, or removed if Remove is true; then only its Key matters.
	Resource Resource
	Remove   bool
}

// Set is the change that sets a resource.
func Set(r Resource) Change { return Change{Resource: r} }

// Remove is the change that removes a resource.
func Remove(k Key) Change { return Change{Resource: Resource{Key: k}, Remove: true} }

// VersionOf is the version of what the bytes stand for: 96 bits of SHA-256 in
// 16 characters. Hash the inputs of a translation and the translator's
// revision rather than protobuf, whose bytes differ between builds.
func VersionOf(b []byte) string {
	h := sha256.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(h[:12])
}

// Type is a type of resources that is served.
type Type struct {
	// URL is the type URL, "type.googleapis.com/...".
	URL string
	// Leading marks a type whose resources list names for the client to
	// subscribe to. What refers to a name that a proxy does not subscribe to
	// yet waits while a Leading resource is on its way.
	Leading bool
	// Quiet leaves the type out of Options.OnProgress.
	Quiet bool
	// Whole marks a type of which a response in a state-of-the-world stream has all that the client
	// subscribes to: what is missing there has been removed. So it is with listeners and clusters.
	Whole bool
}

// Field numbers of envoy.service.discovery.v3.DeltaDiscoveryResponse, DiscoveryResponse (where they are
// the same, but for the version), Resource and google.protobuf.Any.
const (
	stateVersion      = 1
	responseResources = 2
	responseTypeURL   = 4
	responseNonce     = 5
	responseRemoved   = 6

	resourceVersion = 1
	resourceAny     = 2
	resourceName    = 3

	anyTypeURL = 1
	anyValue   = 2
)

// encode returns the resource as field "resources" of a response, and where
// in it the body lies. These bytes are made once and shared by all streams.
func encode(r *Resource) (frame []byte, body int) {
	anySize := sizeOfAny(r.TypeURL, len(r.Body))
	size := protowire.SizeTag(resourceVersion) + protowire.SizeBytes(len(r.Version)) +
		protowire.SizeTag(resourceName) + protowire.SizeBytes(len(r.Name)) +
		protowire.SizeTag(resourceAny) + protowire.SizeBytes(anySize)
	b := make([]byte, 0, protowire.SizeTag(responseResources)+protowire.SizeBytes(size))
	b = protowire.AppendTag(b, responseResources, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size))
	b = appendString(b, resourceVersion, r.Version)
	b = appendString(b, resourceName, r.Name)
	b = protowire.AppendTag(b, resourceAny, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(anySize))
	b = appendString(b, anyTypeURL, r.TypeURL)
	b = protowire.AppendTag(b, anyValue, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(len(r.Body)))
	body = len(b)
	return append(b, r.Body...), body
}

func sizeOfAny(typeURL string, body int) int {
	return protowire.SizeTag(anyTypeURL) + protowire.SizeBytes(len(typeURL)) + protowire.SizeTag(anyValue) + protowire.SizeBytes(body)
}

// bare returns the resource as field "resources" of a state-of-the-world response, which has no version
// and no name around the Any: a few bytes of its own, and the rest of the shared frame.
func (rev *revision) bare(typeURL string) (head, shared []byte) {
	frame := rev.frame
	size := sizeOfAny(typeURL, len(frame)-rev.body)
	head = protowire.AppendTag(make([]byte, 0, 8), responseResources, protowire.BytesType)
	return protowire.AppendVarint(head, uint64(size)), frame[len(frame)-size:] //nolint:gosec // a size is not negative
}

// tail returns the rest of a response: type, nonce and removed names.
func tail(typeURL, nonce string, removed []string) []byte {
	size := len(typeURL) + len(nonce) + 12
	for _, n := range removed {
		size += len(n) + 4
	}
	b := make([]byte, 0, size)
	b = appendString(b, responseTypeURL, typeURL)
	b = appendString(b, responseNonce, nonce)
	for _, n := range removed {
		b = appendString(b, responseRemoved, n)
	}
	return b
}

func appendString(b []byte, field protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}

var errNoName = errors.New("a resource needs a name")

func (c *Change) validate(kinds map[string]*kind) error {
	r := &c.Resource
	if r.Name == "" {
		return errNoName
	}
	if kinds[r.TypeURL] == nil {
		return fmt.Errorf("resource %s: type %q is not served", r.Name, r.TypeURL)
	}
	for _, n := range r.Needs {
		if kinds[n.TypeURL] == nil || n.Name == "" {
			return fmt.Errorf("resource %s needs %s, which can't be served", r.Key, n)
		}
	}
	if slices.ContainsFunc(r.Variants, func(v Variant) bool { return v.Place == "" }) {
		return fmt.Errorf("resource %s has a variant without a place", r.Key)
	}
	if len(r.Variants) > 0 && (len(r.Needs) > 0 || r.Companion != (Key{})) {
		return fmt.Errorf("resource %s has variants, and needs others", r.Key)
	}
	if n := r.Companion; n != (Key{}) && (kinds[n.TypeURL] == nil || n.Name == "" || n == r.Key) {
		return fmt.Errorf("resource %s has the companion %s, which can't be served", r.Key, n)
	}
	return nil
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package wire

import (
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// Type URLs of the resources that an agent relays.
const (
	ClusterType  = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	EndpointType = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	ListenerType = "type.googleapis.com/envoy.config.listener.v3.Listener"
	RouteType    = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
	SecretType   = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
	// ExtensionType carries the network filters of routes of bytes.
	ExtensionType = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
)

// DeltaMethod is the full gRPC method of the stream, in both directions.
const DeltaMethod = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"

// Request is a DeltaDiscoveryRequest.
type Request struct {
	Node        []byte // an encoded Node; only in the first request of a stream
	TypeURL     string
	Subscribe   []string
	Unsubscribe []string
	// Versions are the resources the client has from an earlier stream, by name.
	Versions map[string]string
	// Nonce answers the response of that nonce: a refusal if Error is set, else an acknowledgement.
	Nonce string
	Error *Status
}

// Status is a google.rpc.Status.
type Status struct {
	Code    int32
	Message string
}

// Response is a DeltaDiscoveryResponse.
type Response struct {
	TypeURL   string
	Nonce     string
	Resources []Resource
	Removed   []string
}

// Resource is one resource of a response. Raw is the whole encoded Resource message (name, version,
// body and all); it is never changed once made, so it may be shared.
type Resource struct {
	Name, Version string
	Raw           []byte
}

// fields of DeltaDiscoveryRequest.
const (
	reqNode        = 1
	reqType        = 2
	reqSubscribe   = 3
	reqUnsubscribe = 4
	reqVersions    = 5
	reqNonce       = 6
	reqError       = 7
)

// fields of DeltaDiscoveryResponse.
const (
	respResources = 2
	respType      = 4
	respNonce     = 5
	respRemoved   = 6
)

// fields of Resource.
const (
	resVersion = 1
	resBody    = 2
	resName    = 3
)

// Marshal encodes the request.
func (r *Request) Marshal() []byte {
	var b []byte
	b = appendBytes(b, reqNode, r.Node)
	b = appendString(b, reqType, r.TypeURL)
	for _, n := range r.Subscribe {
		b = appendElement(b, reqSubscribe, n)
	}
	for _, n := range r.Unsubscribe {
		b = appendElement(b, reqUnsubscribe, n)
	}
	for _, n := range slices.Sorted(maps.Keys(r.Versions)) {
		b = appendBytes(b, reqVersions, appendString(appendString(nil, 1, n), 2, r.Versions[n]))
	}
	b = appendString(b, reqNonce, r.Nonce)
	if r.Error != nil {
		var s []byte
		s = protowire.AppendTag(s, 1, protowire.VarintType)
		s = protowire.AppendVarint(s, uint64(r.Error.Code))
		b = appendBytes(b, reqError, appendString(s, 2, r.Error.Message))
	}
	return b
}

// ParseRequest decodes a request.
func ParseRequest(b []byte) (*Request, error) {
	r := &Request{}
	err := each(b, func(n protowire.Number, v []byte, _ uint64) error {
		switch n {
		case reqNode:
			r.Node = slices.Clone(v)
		case reqType:
			r.TypeURL = string(v)
		case reqSubscribe:
			r.Subscribe = append(r.Subscribe, string(v))
		case reqUnsubscribe:
			r.Unsubscribe = append(r.Unsubscribe, string(v))
		case reqVersions:
			var name, version string
			if err := each(v, func(n protowire.Number, v []byte, _ uint64) error {
				switch n {
				case 1:
					name = string(v)
				case 2:
					version = string(v)
				}
				return nil
			}); err != nil {
				return err
			}
			if r.Versions == nil {
				r.Versions = map[string]string{}
			}
			r.Versions[name] = version
		case reqNonce:
			r.Nonce = string(v)
		case reqError:
			r.Error = &Status{}
			return each(v, func(n protowire.Number, v []byte, u uint64) error {
				switch n {
				case 1:
					r.Error.Code = int32(u)
				case 2:
					r.Error.Message = string(v)
				}
				return nil
			})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("parse discovery request: %w", err)
	}
	return r, nil
}

// Marshal encodes the response.
func (r *Response) Marshal() []byte {
	size := len(r.TypeURL) + len(r.Nonce) + 16
	for _, x := range r.Resources {
		size += len(x.Raw) + 8
	}
	b := make([]byte, 0, size)
	for _, x := range r.Resources {
		b = protowire.AppendTag(b, respResources, protowire.BytesType)
		b = protowire.AppendBytes(b, x.Raw)
	}
	b = appendString(b, respType, r.TypeURL)
	b = appendString(b, respNonce, r.Nonce)
	for _, n := range r.Removed {
		b = appendElement(b, respRemoved, n)
	}
	return b
}

// ParseResponse decodes a response. The resources are copies: b may be reused, and one resource that is
// kept does not keep the whole response in memory.
func ParseResponse(b []byte) (*Response, error) {
	r := &Response{}
	err := each(b, func(n protowire.Number, v []byte, _ uint64) error {
		switch n {
		case respResources:
			x, err := ParseResource(slices.Clone(v))
			r.Resources = append(r.Resources, x)
			return err
		case respType:
			r.TypeURL = string(v)
		case respNonce:
			r.Nonce = string(v)
		case respRemoved:
			r.Removed = append(r.Removed, string(v))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("parse discovery response: %w", err)
	}
	return r, nil
}

// ParseResource reads name and version of an encoded Resource and keeps raw.
func ParseResource(raw []byte) (Resource, error) {
	x := Resource{Raw: raw}
	err := each(raw, func(n protowire.Number, v []byte, _ uint64) error {
		switch n {
		case resVersion:
			x.Version = string(v)
		case resName:
			x.Name = string(v)
		}
		return nil
	})
	return x, err
}

// NewResource makes a resource of a body that is encoded as typeURL.
func NewResource(typeURL, name, version string, body []byte) Resource {
	var b []byte
	b = appendString(b, resVersion, version)
	b = appendBytes(b, resBody, appendBytes(appendString(nil, 1, typeURL), 2, body))
	b = appendString(b, resName, name)
	return Resource{Name: name, Version: version, Raw: b}
}

// Body is the value of the resource's Any.
func (x Resource) Body() ([]byte, error) {
	var body []byte
	err := each(x.Raw, func(n protowire.Number, v []byte, _ uint64) error {
		if n != resBody {
			return nil
		}
		return each(v, func(n protowire.Number, v []byte, _ uint64) error {
			if n == 2 {
				body = v
			}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("parse resource %s: %w", x.Name, err)
	}
	return body, nil
}

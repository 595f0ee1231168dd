// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package xdsyaml

import (
	"encoding/json"
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"sigs.k8s.io/yaml"

	"tulle.dev/tulle/internal/controlplane/envoy"
)

type entry struct {
	Type string          `json:"type"`
	Name string          `json:"name"`
	Refs []string        `json:"refs,omitempty"`
	Body json.RawMessage `json:"xds"`
}

const prefix = "type.googleapis.com/"

// Encode writes resources in the order given.
func Encode(resources []envoy.Resource) ([]byte, error) {
	out := make([]entry, 0, len(resources))
	for _, r := range resources {
		e := entry{Type: strings.TrimPrefix(r.TypeURL, prefix), Name: r.Name, Body: r.Raw}
		if r.Message != nil {
			b, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(r.Message)
			if err != nil {
				return nil, fmt.Errorf("write %s: %w", r.Name, err)
			}
			e.Body = b
		}
		for _, ref := range r.Refs {
			e.Refs = append(e.Refs, strings.TrimPrefix(ref.TypeURL, prefix)+" "+ref.Name)
		}
		out = append(out, e)
	}
	b, err := yaml.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("write resources: %w", err)
	}
	return b, nil
}

// Decode reads what Encode writes. Types that are not protobuf come back as Raw.
func Decode(b []byte) ([]envoy.Resource, error) {
	var list []entry
	if err := yaml.UnmarshalStrict(b, &list); err != nil {
		return nil, fmt.Errorf("read resources: %w", err)
	}
	var out []envoy.Resource
	for _, e := range list {
		r := envoy.Resource{TypeURL: prefix + e.Type, Name: e.Name}
		for _, ref := range e.Refs {
			typ, name, _ := strings.Cut(ref, " ")
			r.Refs = append(r.Refs, envoy.Ref{TypeURL: prefix + typ, Name: name})
		}
		typ, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(e.Type))
		if err != nil {
			r.Raw = e.Body
			out = append(out, r)
			continue
		}
		m := typ.New().Interface()
		if err := protojson.Unmarshal(e.Body, m); err != nil {
			return nil, fmt.Errorf("read %s: %w", e.Name, err)
		}
		r.Message = m
		out = append(out, r)
	}
	return out, nil
}

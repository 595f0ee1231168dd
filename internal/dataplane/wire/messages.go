// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package wire

import (
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// Node encodes an envoy.config.core.v3.Node with metadata of strings.
func Node(id, cluster string, metadata map[string]string) []byte {
	var meta []byte
	for _, k := range slices.Sorted(maps.Keys(metadata)) {
		value := appendElement(nil, 3, metadata[k]) // google.protobuf.Value.string_value
		meta = appendBytes(meta, 1, appendBytes(appendString(nil, 1, k), 2, value))
	}
	var b []byte
	b = appendString(b, 1, id)
	b = appendString(b, 2, cluster)
	b = appendBytes(b, 3, meta)
	return appendString(b, 6, "tulle-agent") // user_agent_name
}

// TLSSecret encodes an envoy.extensions.transport_sockets.tls.v3.Secret with a TlsCertificate; both PEM.
func TLSSecret(name string, chain, key []byte) []byte {
	source := func(v []byte) []byte { return appendBytes(nil, 2, v) } // DataSource.inline_bytes
	var cert []byte
	cert = appendBytes(cert, 1, source(chain))
	cert = appendBytes(cert, 2, source(key))
	return appendBytes(appendString(nil, 1, name), 2, cert)
}

// HealthRequest encodes a grpc.health.v1.HealthCheckRequest.
func HealthRequest(service string) []byte { return appendString(nil, 1, service) }

// Health is the status in a grpc.health.v1.HealthCheckResponse.
type Health uint64

// HealthServing is the only healthy status.
const HealthServing Health = 1

// String is the name of the status in health.proto.
func (h Health) String() string {
	all := []string{"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"}
	if h < Health(len(all)) {
		return all[h]
	}
	return fmt.Sprintf("status %d", uint64(h))
}

// ParseHealth decodes a grpc.health.v1.HealthCheckResponse.
func ParseHealth(b []byte) (Health, error) {
	var h Health
	err := each(b, func(n protowire.Number, _ []byte, u uint64) error {
		if n == 1 {
			h = Health(u)
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("parse health answer: %w", err)
	}
	return h, nil
}

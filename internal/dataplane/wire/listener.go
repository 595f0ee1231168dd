// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package wire

// Fields of envoy.config.listener.v3.Listener and envoy.config.cluster.v3.Cluster.
const (
	listenerChains = 3
	clusterName    = 1
)

// AppendFilterChains adds encoded FilterChains to an encoded Listener.
func AppendFilterChains(listener []byte, chains [][]byte) []byte {
	for _, c := range chains {
		listener = appendBytes(listener, listenerChains, c)
	}
	return listener
}

// AppendClusterName gives an encoded Cluster another name: of a field that is there twice, the last counts.
func AppendClusterName(cluster []byte, name string) []byte {
	return appendString(cluster, clusterName, name)
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package controlplane connects to the control plane.
//
// The pod's author decides which resolver a pod asks and what that resolver
// knows (dnsPolicy, dnsConfig, hostAliases), and the proxy has to start
// whatever it is. So the addresses of the control plane's Service come to the
// pod in a file that the kubelet keeps current, and the name is what the
// certificate is checked against, and the last resort
// (docs/adr/0017-starting-without-dns-and-hooks.md).
//
// It knows no protocol above TLS. Start with Dialer.
package controlplane

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package dataplane tests the data plane whole: the real slot, agent and Envoy
// in a pod made of network and mount namespaces, against a small control plane
// that lives in the test.
//
//	peer namespace: control plane, clients, servers  --cable--  pod namespace:
//	a read-only root with the image's files, slots "a" and "b", redirection, the application
//
// It needs root and Envoy (TULLE_ENVOY, or the user's cache where `make`
// puts it). Start reading at pod_test.go; each other file is one kind of trouble.
package dataplane

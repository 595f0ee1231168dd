// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package policies simulates the NetworkPolicies of config/network-policies: every connection that the
// product makes is allowed, and no other. The network of the embedded cluster does not enforce policies.
package policies

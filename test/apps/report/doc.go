// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package report is what the sample apps say of one request: which service,
// version and pod answered, who the caller was, and what was called in turn.
//
// It knows HTTP and gRPC and nothing of Kubernetes or of Tulle's own packages:
// a caller's identity is read from the header that the proxy wrote, as any
// application would do it. Invariant: the identity is never taken from
// anything but that header, and is empty when the header is absent.
package report

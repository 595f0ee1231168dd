// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package dump reads the answer of Envoy's /config_dump and makes tables of
// it: clusters, listeners, routes, endpoints.
//
// It reads JSON, not protobuf, and only the fields it shows, so that the
// command line stays small and a newer Envoy's fields do no harm. Invariant:
// an answer that is not a config dump is an error, an unknown part of one is
// left out.
package dump

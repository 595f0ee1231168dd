// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package pages reads lists of the API server in pages whose size in bytes is bounded.
//
// A client of the API server holds a whole answer in memory, and tenants decide how large and how many objects
// are: an object may have more than a megabyte. A fixed number of objects per page is too slow for small objects
// or too large for large ones. So the transport (Transport) ends a page that exceeds MaxBytes, and Read asks for
// fewer objects. What the caller keeps of a page is for the caller to bound. ListWatch does the same for reflectors and
// informers.
package pages

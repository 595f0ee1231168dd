// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package advanced is what server and client of the image echo-advanced have in
// common. The mesh part of the Gateway API's conformance suite runs that image
// and executes its client in the pods; which flags both take and which lines
// they print is the suite's contract (its package utils/echo reads them):
//
//	server --port=8080 --grpc=7070 --tcp=9090 --port=8443 --tls=8443
//	client http://echo:80/path --method=GET -H name:value --count=100
//
// Start reading at server/main.go.
package advanced

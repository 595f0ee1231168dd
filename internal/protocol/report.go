// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package protocol

import "time"

// ReportType is the type URL of the request by which an agent tells its Report on the ADS stream: a
// DeltaDiscoveryRequest that subscribes to nothing, with the Report as JSON in the field MetaReport of
// its Node's metadata. It is never answered. A control plane that does not know it may ignore it.
const ReportType = "type.googleapis.com/tulle.v1.Report"

// MetaReport is the field of the Node's metadata that holds a Report.
const MetaReport = "TULLE_REPORT"

// How often an agent reports, and over how long it counts. A change of the phase is told at once.
const (
	ReportEvery  = 5 * time.Second
	ReportWindow = time.Minute
)

// Report is what an agent tells of its proxy.
type Report struct {
	Phase   Phase  `json:"phase"`
	Message string `json:"message,omitempty"`
	// Window is how long the counts below were gathered: since Envoy's start, at most ReportWindow.
	Window Duration `json:"window"`
	// Requests that came to the application (to a gateway: from outside) over HTTP and were answered
	// or broken off; Failures of them ended with a status of 500 to 599 or without one.
	Requests uint64 `json:"requests"`
	Failures uint64 `json:"failures"`
	// P50 and P99 are how long those requests took, in milliseconds; 0 without requests.
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	// Restarts counts how often Envoy ended by itself since the agent started.
	Restarts uint64 `json:"restarts"`
	// Plaintext counts, by the address of the client, the requests and connections that came without the
	// mesh's mutual TLS: in plaintext or in the application's own TLS. An address is left out half an hour
	// to an hour after it came last, and if there are more than MaxPlaintext.
	Plaintext map[string]uint64 `json:"plaintext,omitempty"`
}

// MaxPlaintext is the most addresses in Report.Plaintext. With it, a Report fits into what a control plane
// keeps of one.
const MaxPlaintext = 48

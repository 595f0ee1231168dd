// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package report

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
)

// Report is one service's answer to one request. The zero value says nothing.
type Report struct {
	Service string `json:"service"`
	Version string `json:"version"`
	Pod     string `json:"pod"`
	// Caller is the SPIFFE id of the peer as the proxy proved it; empty without mutual TLS.
	Caller string `json:"caller"`
	// Protocol is what this service was spoken to in, such as "HTTP/1.1" or "gRPC".
	Protocol string `json:"protocol"`
	// Error is why the answer is not whole.
	Error string `json:"error,omitempty"`
	// Calls are the answers of the services that were called for this one.
	Calls []Report `json:"calls,omitempty"`
}

// Self is the part of a report that stays the same for the life of a process.
type Self struct{ Service, Version, Pod string }

// SelfFromEnv reads VERSION and POD_NAME; the pod's name defaults to the host's.
func SelfFromEnv(service string) Self {
	s := Self{Service: service, Version: os.Getenv("VERSION"), Pod: os.Getenv("POD_NAME")}
	if s.Version == "" {
		s.Version = "v1"
	}
	if s.Pod == "" {
		s.Pod, _ = os.Hostname()
	}
	return s
}

// HTTP begins the report of an HTTP request.
func (s Self) HTTP(r *http.Request) Report {
	return Report{
		Service: s.Service, Version: s.Version, Pod: s.Pod,
		Caller: CallerOf(r.Header.Values(Header)), Protocol: r.Proto,
	}
}

// Write answers an HTTP request with a report: 200, or 502 when a call went wrong.
func Write(w http.ResponseWriter, r Report) {
	w.Header().Set("Content-Type", "application/json")
	if r.Broken() {
		w.WriteHeader(http.StatusBadGateway)
	}
	_ = json.NewEncoder(w).Encode(r) // the client has gone; there is nobody to tell
}

// Broken says whether this service or one it called failed.
func (r Report) Broken() bool {
	if r.Error != "" {
		return true
	}
	for _, c := range r.Calls {
		if c.Broken() {
			return true
		}
	}
	return false
}

// Walk visits the report and everything that was called for it, callers first.
func (r Report) Walk(visit func(Report)) {
	visit(r)
	for _, c := range r.Calls {
		c.Walk(visit)
	}
}

// Parse reads a report from the body of an answer.
func Parse(body []byte) (Report, error) {
	var r Report
	if err := json.Unmarshal(body, &r); err != nil {
		return Report{}, fmt.Errorf("parse report: %w", err)
	}
	return r, nil
}

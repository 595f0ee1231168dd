// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package load

import (
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// Options say what to send. The zero values of all but URL have a meaning, see each field.
type Options struct {
	// URL is the target: http://, https:// (certificates are not checked), grpc://host:port/service/method,
	// or tcp://host:port (sends a line and expects it back; banner://host:port expects a line first).
	URL string
	// Method of HTTP requests; empty is GET. Go's client repeats a GET by itself when a kept connection
	// turns out to be closed; it does not repeat a POST, so measure with POST where that matters.
	Method string
	// Host overrides the Host header; empty is the URL's.
	Host string
	// Headers are sent with every HTTP request.
	Headers http.Header
	// Rate is requests per second; 0 is as fast as the workers can.
	Rate float64
	// Workers is how many requests may be under way at once; 0 is 8.
	Workers int
	// Count and Duration end the run, whichever comes first; both 0 means 100 requests.
	Count    int
	Duration time.Duration
	// NewConnections opens a connection for every request instead of keeping them.
	NewConnections bool
	// HTTP2 speaks HTTP/2 without TLS (prior knowledge) to http:// targets.
	HTTP2 bool
	// Hold makes a request of tcp://, banner:// and grpc:// (a stream: /service/methods) last for this
	// long, with an exchange ten times a second; it has succeeded when every one of them has.
	Hold time.Duration
	// Timeout bounds one request; 0 is 10 s more than Hold.
	Timeout time.Duration
	// Every is the time between calls of Progress; 0 is 1 s.
	Every time.Duration
	// Progress, if set, is called from one goroutine at a time, and once more at the end.
	Progress func(Summary)
}

func (o Options) withDefaults() Options {
	if o.Method == "" {
		o.Method = http.MethodGet
	}
	if o.Workers <= 0 {
		o.Workers = 8
	}
	if o.Count <= 0 && o.Duration <= 0 {
		o.Count = 100
	}
	if o.Timeout <= 0 {
		o.Timeout = o.Hold + 10*time.Second
	}
	if o.Every <= 0 {
		o.Every = time.Second
	}
	return o
}

func (o Options) validate() (*url.URL, error) {
	u, err := url.Parse(o.URL)
	if err != nil {
		return nil, fmt.Errorf("URL: %w", err)
	}
	if u.Host == "" {
		return nil, fmt.Errorf("URL %q has no host", o.URL)
	}
	switch u.Scheme {
	case "http", "https":
		if o.Hold > 0 {
			return nil, fmt.Errorf("URL %q can't be held: that needs grpc, tcp or banner", o.URL)
		}
	case "grpc":
		if len(u.Path) < 2 {
			return nil, fmt.Errorf("URL %q lacks the method: grpc://host:port/service/method", o.URL)
		}
	case "tcp", "banner":
		if u.Port() == "" {
			return nil, fmt.Errorf("URL %q lacks the port", o.URL)
		}
	default:
		return nil, fmt.Errorf("URL %q: scheme must be http, https, grpc, tcp or banner", o.URL)
	}
	if o.Rate < 0 {
		return nil, fmt.Errorf("rate %v is negative", o.Rate)
	}
	return u, nil
}

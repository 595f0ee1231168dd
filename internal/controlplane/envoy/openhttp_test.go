// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"regexp"
	"testing"
)

func TestUnlikeWebSocket(t *testing.T) {
	re := regexp.MustCompile("^(?:" + unlikeWebSocket + ")$")
	for value, want := range map[string]bool{
		"websocket": false, "WebSocket": false, "WEBSOCKET": false, "wEbSoCkEt": false,
		"h2c": true, "H2C": true, "TLS/1.2": true, "foo/1": true, "SPDY/3.1": true, "HTTP/2.0": true, "IRC/6.9": true,
		"tcp": true, "v/1": true, "V": true, "x": true, "X/1": true, "1": true, "~": true, "!": true,
	} {
		if got := re.MatchString(value); got != want {
			t.Errorf("%q matches: %v, want %v", value, got, want)
		}
	}
}

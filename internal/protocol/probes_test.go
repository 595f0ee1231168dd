// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package protocol

import "testing"

// TestProbeToken: the token is found in what ProbePath returns and in nothing else, paths of earlier releases
// and of containers with strange names included.
func TestProbeToken(t *testing.T) {
	const token = "0123456789abcdef0123456789abcdef"
	for path, want := range map[string]string{
		ProbePath(token, "app", "liveness"):      token,
		ProbePath(token, token, "preStop"):       token,
		GuessablePath("app", "liveness"):         "",
		GuessablePath(token, "liveness"):         "",
		"/probe/" + token:                        "",
		"/probe/" + token + "/app/x/liveness":    "",
		"/other/" + token + "/app/liveness":      "",
		"/probe/" + token[1:] + "/app/liveness":  "",
		"/probe/" + token + "0/app/liveness":     "",
		"/probe/" + token[1:] + "G/app/liveness": "",
		"":                                       "",
	} {
		if got := ProbeToken(path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	for path, want := range map[string]bool{
		ProbePath(token, "app", "preStop"): true, GuessablePath("app", "postStart"): true,
		ProbePath(token, "preStop", "liveness"): false, GuessablePath("app", "startup"): false,
	} {
		if IsHook(path) != want {
			t.Errorf("%s: is a hook: %v", path, !want)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Command poll asks the same thing again and again, every few milliseconds,
// and prints a line of JSON (see Change) whenever the answer is another one
// than before:
//
//	poll [-every 5ms] 'NAME URL [ADDRESS]' ...
//
// Each target has a goroutine and a connection of its own; ADDRESS is where it
// connects to, if that is not what the URL names. The answer is the Location
// of a redirection, which a proxy gives by itself: so a change of a route
// shows without a server's doing, and asking costs little.
//
// It never ends by itself. It knows nothing of the mesh.
package main

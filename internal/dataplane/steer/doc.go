// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package steer moves new connections from one Envoy to another without
// losing one, while both listen on the same addresses.
//
// With SO_REUSEPORT the kernel spreads new connections over all sockets that
// listen on an address, and resets those that wait in the queue of a socket
// that is closed. So before the old Envoy closes its sockets they must get no
// more. Which socket of the group is chosen can be said by a classic BPF
// program (SO_ATTACH_REUSEPORT_CBPF in socket(7)), which any member of the
// group may set for all: this package joins for an instant, with a socket that
// takes no packets (clients send them again), sets the program and leaves.
//
//	old Envoy: sockets 0..k-1   new Envoy: sockets k..n-1   program: "k"
//
// It needs no capability, only the user that the sockets belong to. It knows
// nothing of Envoy but its pid. Invariant: without the program, with it, and
// after any socket has gone, every connection finds a socket that accepts.
package steer

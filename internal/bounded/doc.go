// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package bounded limits what clients that are not authenticated can make a
// server use: connections, memory and time, for all requests together.
//
//	Listen          connections, in total and for each address, and their rate
//	Pool, Meter     which connection makes room for others; how often one may come
//	NewServer       headers, streams, windows and the time of each phase
//	Bodies.Read     bytes of bodies in flight, and the shape of their JSON
//	Budget          an amount that requests share, fairly by address
//	Turns           places in turn, fairly by address and group over minutes
//
// Which ports go through it, the rules and the numbers are in docs/adr/0026.
//
// Invariant: nothing that a client claims is allocated before it is counted,
// and a client that takes little is served before one that takes much. A limit
// that is reached closes what the address with the most has held longest, and
// not what comes next, so strangers can't keep others out. Only what comes more
// often than the rate of its address, or of all, is turned away.
//
// It knows nothing of what is served. Standard library only. Start with bodies.go.
package bounded

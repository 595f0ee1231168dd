// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package model

import "slices"

// SmallPorts is how many TCP ports a Service may have without taking a share of NamespacePorts.
const SmallPorts = 16

// NamespacePorts bounds the TCP ports with listeners of all Services of a namespace that have more than SmallPorts, since
// each of them takes memory in every proxy of the mesh.
const NamespacePorts = 2_000

// PortsOf is how many TCP ports have listeners of each Service in a namespace whose Services have so many, those of no
// more than SmallPorts left out: all if they are within NamespacePorts together. Otherwise it is MaxPorts halved until
// they are, so that few changes of one Service concern the others, and SmallPorts at least.
func PortsOf(ports []int) int {
	for most := MaxPorts; most > SmallPorts; most /= 2 {
		sum := 0
		for _, n := range ports {
			sum += min(n, most)
		}
		if sum <= NamespacePorts {
			return most
		}
	}
	return SmallPorts
}

// Listening is how many of the Service's ports have listeners: those for TCP if it has a cluster address.
func (s Service) Listening() int {
	if len(s.VIPs) == 0 {
		return 0
	}
	return s.TCPPorts()
}

// TCPPorts is how many of the ports are for TCP.
func (s Service) TCPPorts() int {
	n := 0
	for _, p := range s.Ports {
		if p.Protocol != UDP {
			n++
		}
	}
	return n
}

// First is the Service with no more than the first n ports for TCP. MorePorts counts the others.
func (s Service) First(n int) Service {
	tcp := s.TCPPorts()
	if tcp <= n {
		return s
	}
	s.MorePorts += tcp - n
	left := n
	s.Ports = slices.DeleteFunc(slices.Clone(s.Ports), func(p ServicePort) bool {
		if p.Protocol == UDP {
			return false
		}
		left--
		return left < 0
	})
	return s
}

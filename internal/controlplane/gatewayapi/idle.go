// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"cmp"
	"time"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/gatewayspec"
)

// clientSettings are what a Gateway that is not refused says about requests of its clients.
func clientSettings(gw *gwapiv1.Gateway) model.GatewayClientSettings {
	own, _ := gatewayspec.SettingsOf(gw)
	c := own.Clients
	out := model.GatewayClientSettings{Underscores: c.Underscores, MergeSlashes: c.MergeSlashes, EscapedSlashes: c.EscapedSlashes}
	if out.Underscores == "Drop" {
		out.Underscores = ""
	}
	if out.EscapedSlashes == "Keep" {
		out.EscapedSlashes = ""
	}
	if c.Streams != nil {
		out.Streams = uint32(*c.Streams)
	}
	if c.StreamWindow != nil {
		out.StreamWindow = uint32(*c.StreamWindow)
	}
	if c.StreamIdle != nil {
		out.StreamIdle = *c.StreamIdle
		if out.StreamIdle == 0 {
			out.StreamIdle = model.Unlimited
		}
	}
	return out
}

// proxyProtocol is model.GatewayPort.ProxyProtocol of a Gateway that is not refused.
func proxyProtocol(gw *gwapiv1.Gateway) string {
	own, _ := gatewayspec.SettingsOf(gw)
	return own.ProxyProtocol
}

const (
	// grpcIdle is how long a stream of a GRPCRoute may be silent at a Gateway that says nothing about it. A
	// GRPCRoute has no timeouts, and streams that wait for an event for a long time are usual. Pings are about
	// their connection, not about them.
	grpcIdle = time.Hour
	// idleMargin is by how much a rule's timeouts come before a stream is taken to be silent: they have a status of their own.
	idleMargin = time.Second
)

// idle returns model.Rule.Idle for a route that matches a protocol, at a Gateway whose own limit is limit. A rule's timeouts take
// precedence: 0s is no limit, and an application may be silent for as long as they leave it time to answer.
func (u *rule) idle(p model.Protocol, limit time.Duration) time.Duration {
	if limit < 0 {
		return 0
	}
	if u.endless {
		return model.Unlimited
	}
	if limit == 0 && p == model.GRPC {
		return grpcIdle
	}
	longest := u.timeout
	if longest == 0 {
		longest = u.backendTimeout
		if u.retry != nil {
			longest *= time.Duration(u.retry.Attempts) + 1
		}
	}
	if longest > 0 && longest+idleMargin > cmp.Or(limit, model.StreamIdle) {
		return longest + idleMargin
	}
	return 0
}

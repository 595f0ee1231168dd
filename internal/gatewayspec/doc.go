// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package gatewayspec reads what a Gateway's spec asks of its deployment:
// replicas, autoscaling, the type of the Service; and what it says about
// requests of its clients. It also decides whether a Gateway is refused for a
// reason that follows from its spec alone.
//
//	operator       SettingsOf -> Deployment, Service, HorizontalPodAutoscaler
//	operator       Refuse     -> nothing new is deployed
//	control plane  SettingsOf -> listeners of the Gateway's proxies (Clients)
//	control plane  Refuse     -> condition Accepted of the Gateway
//
// Both sides call the same functions, so that the operator never deploys a
// Gateway that the control plane refuses, without waiting for its status.
// The package is pure: it reads only its arguments. Start at Refuse.
package gatewayspec

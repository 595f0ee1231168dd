// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package gateway deploys the proxies of Gateways: for each Gateway of a class
// that is Tulle's a Deployment, a Service, a ServiceAccount and a disruption
// budget, in the Gateway's namespace and owned by it.
//
// It knows listeners by their ports only; what they mean is the control
// plane's, and so is a Gateway's status, but for the one condition
// tulle.dev/Deployed. Start at Reconciler.Reconcile.
package gateway

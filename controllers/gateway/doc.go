// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package gateway deploys the proxies of Gateways: for each Gateway of a class
// that is Tulle's a Deployment, a Service, a ServiceAccount, a disruption budget
// and perhaps an autoscaler, in the Gateway's namespace and owned by it.
//
// An object that a Gateway does not own is never changed or deleted, whatever its
// name. A Gateway that is refused gets nothing new.
//
// It knows listeners by their ports only; what they mean is the control
// plane's, and so is a Gateway's status, but for the one condition
// tulle.dev/Deployed. When a Gateway leaves the mesh, all of that is taken back. Start at Reconciler.Reconcile.
package gateway

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package api holds the tests of the operator and of its resource against a
// real kube-apiserver (internal/testing/apiserver): what it accepts and
// refuses, and what the operator makes of it. The operator runs in the test's
// process, with the rights of config/rbac and no others.
//
// No pod runs here: the tests themselves play cert-manager (world_test.go),
// and say how Deployments are.
package api

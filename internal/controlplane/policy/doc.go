// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package policy turns policies into the model and into verdicts.
//
//	object of a Kind --Parse, once--> Policy --Attach with a Lookup--> Finding
//	                                     \-> Ancestors (Accepted, ResolvedRefs)
//	                                     \-> References (Secrets and ConfigMaps)
//	Policy of a port --BackendTLS--> model.BackendTLS
//
// What all policies share is in policy.go, attach.go and status.go: targets,
// which of several policies takes precedence, the form of the status. A kind
// is one file, which implements spec, and one row in kinds.go. A kind of
// targets is one row in attach.go.
//
// It reads the cluster only through its Lookup, and knows neither clients nor
// clocks nor Envoy. The result does not depend on the order in which a Lookup
// returns objects. It stands on gatewayapi, which asks for what policies say
// by its own Lookup. Start reading at policy.go.
package policy

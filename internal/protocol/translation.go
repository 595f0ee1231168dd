// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package protocol

// Translation is what a replica of the control plane makes of the cluster: the answer of
// names.PathTranslation, by which the operator and the command line compare two releases. It has no
// secrets: of a certificate with a key, only the certificate went into the hash.
type Translation struct {
	// Version is the release of the replica.
	Version string `json:"version"`
	// Synced tells whether everything that exists has been read; until then nothing below means much.
	Synced bool `json:"synced"`
	// Commit counts the batches of changes since the replica began.
	Commit uint64 `json:"commit"`
	// Resources are what proxies may be sent: by type URL and name, a hash of the contents. The same
	// contents have the same hash in every replica and release.
	Resources map[string]map[string]string `json:"resources"`
	// Rejected are the users' objects that are not carried out, or not wholly, sorted.
	Rejected []RejectedObject `json:"rejected"`
	// Failed are translations that went wrong inside the control plane, sorted; the last good result
	// of each, if there was one, is among Resources.
	Failed []FailedTranslation `json:"failed,omitempty"`
}

// RejectedObject is something wrong with an object, as its status says.
type RejectedObject struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Where in the object: a parent of a route or a listener of a Gateway; empty: all of it.
	Where string `json:"where,omitempty"`
	// Condition that says so, with its reason and message.
	Condition string `json:"condition"`
	Reason    string `json:"reason"`
	Message   string `json:"message"`
}

// FailedTranslation is a bug of the control plane that some object brings out.
type FailedTranslation struct {
	// Step of the translation, and Key of what it was working on.
	Step string `json:"step"`
	Key  string `json:"key"`
	// Problem in words.
	Problem string `json:"problem"`
}

// HiddenResource is the body of the answer, with status 403, to a request for a resource that holds a private key.
const HiddenResource = "this resource holds a private key: it is not shown"

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package model

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
)

// Hash returns 96 bits of SHA-256, base64url, over the canonical form of v and the translator's
// revision. It is the version of the xDS resource made from v: the same on every replica, after a
// restart and in every build that translates v the same way. v must hold no maps, functions or channels.
func Hash(revision string, v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic("model: a value that cannot be encoded: " + err.Error()) // a bug: the types of this package all can
	}
	h := sha256.New()
	h.Write([]byte(revision))
	h.Write([]byte{0})
	h.Write(b)
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:12])
}

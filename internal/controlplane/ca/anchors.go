// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package ca

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// errForeignChain is the answer to a certificate that a root of the mesh stands behind and the mesh does not.
var errForeignChain = errors.New("the certificate was not signed by an intermediate certificate of this mesh")

// anchors are the intermediates that a chain must pass through. The issuer of a root signs for whoever may
// ask it, so a root and a name prove nothing; an intermediate of the mesh signs only what this package
// makes. The zero value requires nothing, as before the operator has written the mesh's intermediates.
type anchors struct {
	required []*x509.Certificate
	// pem is the same for proxies; empty if nothing is required.
	pem string
	// cleared names the intermediates that every proxy trusts.
	cleared []string
}

func anchorsFrom(f files) (anchors, error) {
	list, err := certificates(f.intermediates)
	if err != nil {
		return anchors{}, fmt.Errorf("read the mesh's intermediates: %w", err)
	}
	a := anchors{cleared: strings.Fields(string(f.signers))}
	for _, c := range list {
		if !c.IsCA || selfSigned(c) {
			return anchors{}, fmt.Errorf("read the mesh's intermediates: %q is not an intermediate", c.Subject)
		}
	}
	return a.of(list), nil
}

// of returns the same anchors with another list.
func (a anchors) of(list []*x509.Certificate) anchors {
	a.required, a.pem = union(list), ""
	for _, c := range a.required {
		a.pem += string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return a
}

// with adds an intermediate that this replica has in hand: proxies of this replica trust it before the
// operator has seen it. Where nothing is required, nothing changes.
func (a anchors) with(c *x509.Certificate) anchors {
	if len(a.required) == 0 {
		return a
	}
	return a.of(append(slices.Clone(a.required), c))
}

// accept tells whether one of these chains passes through an anchor. The first of a chain is the leaf.
func (a anchors) accept(chains [][]*x509.Certificate) error {
	if len(a.required) == 0 {
		return nil
	}
	for _, chain := range chains {
		if len(chain) > 1 && slices.ContainsFunc(chain[1:], a.has) {
			return nil
		}
	}
	return errForeignChain
}

// maySign tells whether every proxy accepts what this intermediate signs.
func (a anchors) maySign(c *x509.Certificate) bool {
	return len(a.required) == 0 || slices.Contains(a.cleared, Fingerprint(c))
}

func (a anchors) has(c *x509.Certificate) bool { return slices.ContainsFunc(a.required, c.Equal) }

// signed tells whether an anchor signed a certificate that this package made.
func (a anchors) signed(leaf *x509.Certificate) bool {
	return slices.ContainsFunc(a.required, func(c *x509.Certificate) bool { return leaf.CheckSignatureFrom(c) == nil })
}

// SignerOf names the certificate that signed the leaf of verified chains; empty if there is none.
func SignerOf(chains [][]*x509.Certificate) string {
	for _, chain := range chains {
		if len(chain) > 1 {
			return Fingerprint(chain[1])
		}
	}
	return ""
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package redirect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"tulle.dev/tulle/internal/names"
)

// table is the name of the table that Tulle owns in the pod's namespace.
const table = "tulle"

// Apply replaces Tulle's table in the current network namespace by one with these rules, in one
// transaction. It needs the capability NET_ADMIN and uid 0 (or an ambient capability).
//
// Kernels without nft_fib can't tell what is addressed to the pod from what it forwards. There, all that
// arrives is redirected.
func Apply(rules []Rule) error { return applyBy(write, rules) }

func applyBy(write func([]Rule) error, rules []Rule) error {
	err := write(rules)
	if lacking(err) {
		anywhere := slices.Clone(rules)
		for i := range anywhere {
			anywhere[i].Local = false
		}
		err = write(anywhere)
	}
	if err != nil {
		return explain(err)
	}
	return nil
}

// write replaces the table.
func write(rules []Rule) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	t := &nftables.Table{Name: table, Family: nftables.TableFamilyINet}
	c.AddTable(t) // so that there is one to delete
	c.DelTable(t)
	c.AddTable(t)
	out := c.AddChain(&nftables.Chain{
		Name: "output", Table: t, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityNATDest,
	})
	in := c.AddChain(&nftables.Chain{
		Name: "prerouting", Table: t, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityNATDest,
	})
	for _, r := range rules {
		ch := in
		if r.Outbound {
			ch = out
		}
		c.AddRule(&nftables.Rule{Table: t, Chain: ch, Exprs: r.exprs()})
	}
	return c.Flush()
}

// lacking tells whether the kernel lacks what a rule asks for.
func lacking(err error) bool {
	return errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EAFNOSUPPORT)
}

// exprs is the rule in the kernel's form: loads into register 1 and comparisons, then the verdict.
func (r Rule) exprs() []expr.Any {
	e := meta(expr.MetaKeyL4PROTO, []byte{unix.IPPROTO_TCP})
	if r.Proxy {
		e = append(e, meta(expr.MetaKeySKUID, binaryutil.NativeEndian.PutUint32(names.ProxyUID))...)
	}
	if r.Loopback {
		key := expr.MetaKeyIIFNAME
		if r.Outbound {
			key = expr.MetaKeyOIFNAME
		}
		name := make([]byte, unix.IFNAMSIZ)
		copy(name, "lo")
		e = append(e, meta(key, name)...)
	}
	if r.Source.IsValid() {
		e = append(e, address(r.Source, false)...)
	}
	if r.Destination.IsValid() {
		e = append(e, address(r.Destination, true)...)
	}
	if r.Local {
		e = append(e,
			&expr.Fib{Register: 1, FlagDADDR: true, ResultADDRTYPE: true},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)})
	}
	if r.Port != 0 {
		e = append(e,
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: port(r.Port)})
	}
	if r.RedirectTo != 0 {
		return append(e, &expr.Counter{}, &expr.Immediate{Register: 1, Data: port(r.RedirectTo)}, &expr.Redir{RegisterProtoMin: 1})
	}
	return append(e, &expr.Counter{}, &expr.Verdict{Kind: expr.VerdictAccept})
}

func meta(key expr.MetaKey, value []byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: key, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: value}}
}

// address compares the packet's source or destination with a network, for its family only.
func address(p netip.Prefix, destination bool) []expr.Any {
	family, size, offset := byte(unix.NFPROTO_IPV4), uint32(4), uint32(12)
	if p.Addr().Is6() {
		family, size, offset = unix.NFPROTO_IPV6, 16, 8
	}
	if destination {
		offset += size
	}
	mask := make([]byte, size)
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return append(meta(expr.MetaKeyNFPROTO, []byte{family}),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: size, Mask: mask, Xor: make([]byte, size)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: p.Masked().Addr().AsSlice()})
}

func port(p uint16) []byte { return binary.BigEndian.AppendUint16(nil, p) }

// explain says what the pod or the node lacks.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES):
		return fmt.Errorf("write nftables rules: %w: tulle-init needs uid 0 and the capability NET_ADMIN in the pod's network namespace; it runs as uid %d and %s NET_ADMIN (Pod Security levels baseline and restricted refuse it)", err, os.Geteuid(), hasNetAdmin())
	case lacking(err):
		return fmt.Errorf("write nftables rules: %w: the node's kernel lacks nf_tables with NAT in the inet family (modules nf_tables, nft_chain_nat, nft_redir; Linux 5.2 or later)", err)
	}
	return fmt.Errorf("write nftables rules: %w", err)
}

// hasNetAdmin reads the effective capabilities of this thread.
func hasNetAdmin() string {
	status, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		return "may lack"
	}
	for line := range strings.Lines(string(status)) {
		if hex, ok := strings.CutPrefix(line, "CapEff:"); ok {
			caps, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
			if err == nil && caps&(1<<unix.CAP_NET_ADMIN) != 0 {
				return "has"
			}
		}
	}
	return "lacks"
}

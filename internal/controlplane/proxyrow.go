// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"encoding/json"
	"strings"
	"unicode/utf8"

	"tulle.dev/tulle/internal/names"
)

// Bounds of one row of the answer of names.PathProxies, in bytes. Most of a row are the words of the pod that it is
// about. If all rows together exceed maxDebugAnswer, each may have less.
const (
	maxProxyRow  = 4 << 10
	maxClientRow = 512
	minProxyRow  = 1 << 10
)

// fixedRow is what a row has at most besides texts: the names of its fields, numbers and times.
const (
	fixedRow    = 320
	fixedReport = 320
	fixedNack   = 40
	fixedPod    = 64
)

// encodeProxies returns the answer as JSON, of maxDebugAnswer bytes at most if that is possible.
func encodeProxies(out *ProxiesReport, most int) ([]byte, error) {
	for limit := maxProxyRow; ; limit /= 2 {
		for i := range out.Proxies {
			out.Proxies[i].cut(limit)
		}
		for i := range out.Clients {
			out.Clients[i].cut(limit * maxClientRow / maxProxyRow)
		}
		text, err := encode(out)
		if err != nil || len(text) <= most || limit <= minProxyRow {
			return text, err
		}
	}
}

// cut shortens what the pod says of itself until the row has no more than limit bytes, and notes that. The names of
// the pod and its namespace stay as they are. What pods are called in Report.Plaintext is in Plaintext as well.
func (p *ProxyReport) cut(limit int) {
	if p.Kind == names.KindClient {
		p.Report, p.Slot, p.Agent, p.Envoy = nil, "", "", ""
	}
	if p.size() <= limit {
		return
	}
	if p.Report != nil && p.Report.Plaintext != nil {
		r := *p.Report
		r.Plaintext = nil
		p.Report = &r
		if p.size() <= limit {
			return
		}
	}
	p.Cut = true
	for text := limit / 4; p.size() > limit; text /= 2 {
		p.Slot, p.Agent, p.Envoy = clip(p.Slot, text/4), clip(p.Agent, text/4), clip(p.Envoy, text/4)
		p.Version = clip(p.Version, 64)
		if p.Report != nil {
			r := *p.Report
			r.Message = clip(r.Message, text)
			if phase := clip(string(r.Phase), 64); phase != string(r.Phase) {
				r.Phase = "" // it is none
			}
			p.Report = &r
		}
		p.Nacks, p.Plaintext = p.Nacks[:(len(p.Nacks)+1)/2], p.Plaintext[:len(p.Plaintext)/2]
		for i := range p.Nacks {
			p.Nacks[i].Message, p.Nacks[i].Name = clip(p.Nacks[i].Message, text), clip(p.Nacks[i].Name, text)
		}
		if text == 0 {
			p.Nacks, p.Plaintext = nil, nil
			return
		}
	}
}

// size is how many bytes the row has at most as JSON.
func (p *ProxyReport) size() int {
	n := fixedRow
	for _, s := range []string{p.Namespace, p.Pod, p.Kind, p.Version, p.Slot, p.Agent, p.Envoy} {
		n += encodedLen(s)
	}
	for _, x := range p.Nacks {
		n += fixedNack + encodedLen(x.Type) + encodedLen(x.Name) + encodedLen(x.Message)
	}
	for _, x := range p.Plaintext {
		n += fixedPod + encodedLen(x.Namespace) + encodedLen(x.Pod)
	}
	if r := p.Report; r != nil {
		n += fixedReport + encodedLen(string(r.Phase)) + encodedLen(r.Message)
		for address := range r.Plaintext {
			n += fixedPod + encodedLen(address)
		}
	}
	return n
}

// encodedLen is how many bytes a text takes in JSON.
func encodedLen(s string) int {
	n := 0
	for _, r := range s {
		n += encodedRune(r)
	}
	return n
}

func encodedRune(r rune) int {
	switch {
	case r == '"', r == '\\':
		return 2
	case r < ' ', r == utf8.RuneError, r == '\u2028', r == '\u2029':
		return 6
	}
	return utf8.RuneLen(r)
}

// clip returns the beginning of a text that takes most bytes in JSON.
func clip(s string, most int) string {
	for i, r := range s {
		if most -= encodedRune(r); most < 0 {
			return s[:i]
		}
	}
	return s
}

// encode returns a value as JSON. Texts stay as they are: nobody shows an answer as HTML.
func encode(v any) ([]byte, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err //nolint:wrapcheck // says what could not be written
	}
	return []byte(b.String()), nil
}

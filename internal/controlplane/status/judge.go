// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package status

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Outcome is the state of the condition Programmed. Settled is what makes it stay: the configuration
// it was reached with.
type Outcome struct {
	Programmed      bool
	Reason, Message string
	Settled         string
	// Partial: some proxies had not acknowledged it, and were not waited for any longer.
	Partial bool
}

// Reasons of the condition tulle.dev/Programmed.
const (
	// ReasonAcknowledged: the connected proxies that need the configuration have acknowledged it.
	ReasonAcknowledged = "Acknowledged"
	// ReasonListenerNotServed: no listener that the route is attached to is given to proxies.
	ReasonListenerNotServed = "ListenerNotServed"
	// ReasonNoProxies: no connected proxy needs the configuration.
	ReasonNoProxies = "NoProxies"
	// ReasonPending: some proxies have not acknowledged it yet.
	ReasonPending = "Pending"
	// ReasonRejected: a proxy refused it; it keeps its last good configuration.
	ReasonRejected = "Rejected"
)

// How long proxies are waited for that the object does not concern: a short time if they are at most a
// tenth of those that need it, and a longer one if they are more.
const (
	patienceForFew  = 5 * time.Second
	patienceForMany = time.Minute
)

// Judge decides the condition from the progress over all replicas, the last outcome, and how long ago the
// configuration was first asked about. again is when to ask once more if nothing changes; 0: never.
//
// A settled configuration stays settled while proxies come and go; one that nobody needed is settled again
// once a proxy has acknowledged it, and not taken back until then.
//
// Proxies that the object does not concern decide only together: more than a tenth of those that need the
// object, and of more than one namespace. What the proxies of one other namespace say, whatever they say, is
// a number in the message.
func Judge(last Outcome, p Progress, waited time.Duration) (o Outcome, again time.Duration) {
	settled := last.Programmed && last.Settled == p.Config
	unacknowledged := p.Needed - p.Acked
	switch {
	case len(p.Rejections) > 0:
		r := p.Rejections[0]
		return Outcome{Reason: ReasonRejected, Message: fmt.Sprintf("proxy %s rejected it and keeps its last good configuration: %s", r.Proxy, quoted(r.Message))}, 0
	case p.many(func(o Other) int { return o.Rejected }):
		return Outcome{Reason: ReasonRejected, Message: fmt.Sprintf("%d of %d proxies rejected it and keep their last good configuration; tulle status shows what they say",
			p.rejected(), p.Needed)}, 0
	case settled && last.Reason == ReasonNoProxies && p.Needed > 0 && p.Acked >= p.Needed:
	case settled && last.Partial && p.Acked >= p.Needed:
	case settled:
		return last, 0
	}
	switch {
	case p.Needed == 0:
		return Outcome{Programmed: true, Reason: ReasonNoProxies, Message: "no connected proxy needs it" + p.more(), Settled: p.Config}, 0
	case unacknowledged <= 0:
		return Outcome{Programmed: true, Reason: ReasonAcknowledged, Message: fmt.Sprintf("acknowledged by %d of %d proxies", p.Acked, p.Needed) + p.more(), Settled: p.Config}, 0
	}
	pending := Outcome{Reason: ReasonPending, Message: fmt.Sprintf("acknowledged by %d of %d proxies", p.Acked, p.Needed) + p.more()}
	patience := patienceForMany
	if unacknowledged*10 <= p.Needed {
		patience = patienceForFew
	}
	switch {
	case p.Pending > 0, p.many(func(o Other) int { return o.Pending }) && waited >= patience:
		return pending, 0
	case waited < patience:
		return pending, patience - waited
	}
	message := fmt.Sprintf("acknowledged by all but %d of %d proxies; those are in namespaces that it does not concern, and are not waited for", unacknowledged, p.Needed)
	return Outcome{Programmed: true, Reason: ReasonAcknowledged, Message: message + p.more(), Settled: p.Config, Partial: true}, 0
}

// many tells whether proxies that the object does not concern are so many that they decide together,
// whichever namespace is left out.
func (p Progress) many(count func(Other) int) bool {
	sum, most := 0, 0
	for _, o := range p.Others {
		n := count(o)
		sum += n
		if o.Namespace != "" {
			most = max(most, n)
		}
	}
	return sum*10 > p.Needed && (sum-most)*10 > p.Needed-most
}

func (p Progress) rejected() (n int) {
	for _, o := range p.Others {
		n += o.Rejected
	}
	return n
}

// more is the part of a message about rejections that do not decide.
func (p Progress) more() string {
	if n := p.rejected() + p.Elsewhere; n == 1 {
		return "; 1 proxy of another namespace rejected a part of it"
	} else if n > 1 {
		return fmt.Sprintf("; %d proxies of other namespaces rejected a part of it", n)
	}
	return ""
}

// maxQuoted bounds the text of a proxy in a status, in bytes.
const maxQuoted = 256

// quoted is the text of a proxy as it is shown: in quotes, at most maxQuoted bytes with them, without what is
// not printable. Each such character is shown as a question mark, so that a text cannot pretend to be the
// words of the control plane, on another line or in another direction.
func quoted(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range text {
		switch {
		case c == utf8.RuneError || !unicode.IsPrint(c):
			c = '?'
		case c == '"':
			c = '\''
		}
		if b.Len()+utf8.RuneLen(c)+1 > maxQuoted {
			break
		}
		b.WriteRune(c)
	}
	b.WriteByte('"')
	return b.String()
}

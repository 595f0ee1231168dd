// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"context"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"tulle.dev/tulle/internal/dataplane/tally"
	"tulle.dev/tulle/internal/names"
)

// Sample reads what an Envoy of the kind (names.KindSidecar, names.KindGateway) has counted of the HTTP
// requests to the application, or to the gateway, and of what a sidecar received without mutual TLS.
func (a *Admin) Sample(ctx context.Context, kind string) (tally.Sample, error) {
	const received = names.StatPlaintext + "." + names.StatPlaintextReceived + "." + names.StatPlaintextSource + "."
	prefix, more := "("+names.InboundHTTP1+"|"+names.InboundHTTP2+")", `|^`+regexp.QuoteMeta(received)
	if kind == names.KindGateway {
		prefix, more = "gw/.*", ""
	}
	var s tally.Sample
	times := false // the lines that follow are about how long requests took
	err := a.lines(ctx, "/stats?type=All&histogram_buckets=detailed&filter=", `^http\.`+prefix+`\.downstream_rq_(total|active|completed|[2-5]xx|time)$`+more, func(line string) {
		if totals, ok := strings.CutPrefix(line, "  totals="); ok && times {
			s.Times = tally.Merge(s.Times, histogram(totals))
			return
		}
		if strings.HasPrefix(line, " ") {
			return
		}
		times = strings.HasSuffix(line, ".downstream_rq_time:")
		name, n, ok := value(line)
		if !ok {
			return
		}
		if from, isPlain := strings.CutPrefix(name, received); isPlain {
			if addr, err := netip.ParseAddr(from); err == nil && n > 0 {
				s.Plaintext = append(s.Plaintext, tally.Source{Addr: addr, Count: n})
			}
			return
		}
		switch name[strings.LastIndexByte(name, '.')+1:] {
		case "downstream_rq_total":
			s.Begun += n
		case "downstream_rq_active":
			s.Active += n
		case "downstream_rq_completed":
			s.Headed += n
		case "downstream_rq_2xx", "downstream_rq_3xx", "downstream_rq_4xx":
			s.Answered += n
		case "downstream_rq_5xx":
			s.Answered += n
			s.Errors += n
		}
	})
	return s, err
}

// histogram reads "0,0:1, 7,0.1:12": lower bound, width and count of the bins that are not empty.
func histogram(text string) tally.Histogram {
	var out tally.Histogram
	for bin := range strings.SplitSeq(text, ", ") {
		bounds, count, _ := strings.Cut(bin, ":")
		low, width, _ := strings.Cut(bounds, ",")
		l, err1 := strconv.ParseFloat(low, 64)
		w, err2 := strconv.ParseFloat(width, 64)
		n, err3 := strconv.ParseUint(count, 10, 64)
		if err1 == nil && err2 == nil && err3 == nil {
			out = append(out, tally.Bin{Low: l, Width: w, Count: n})
		}
	}
	return out
}

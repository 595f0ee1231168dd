// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package status

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/go-logr/logr/funcr"

	"tulle.dev/tulle/internal/controlplane/xds"
)

// TestTwoReleases: replicas of another release make another configuration of the same object; what
// their proxies acknowledged counts by the object's generation, and what they can't say is left out.
func TestTwoReleases(t *testing.T) {
	s := Subject{Kind: "HTTPRoute", Namespace: "shop", Name: "web"}
	report := func(release string, p ...Progress) Report {
		r := Report{Seq: 1, All: true, Release: release}
		for _, one := range p {
			r.Rows = append(r.Rows, Row{Subject: s, Progress: one})
		}
		return r
	}
	mine := report("0.3.0", Progress{Config: "new", Generation: 3, Needed: 1, Acked: 1})
	for name, c := range map[string]struct {
		other   Report
		reason  string
		message string
	}{
		"acknowledged at both": {report("0.2.0", Progress{Config: "old", Generation: 3, Needed: 4, Acked: 4}), ReasonAcknowledged, "acknowledged by 5 of 5 proxies"},
		"pending at the other": {report("0.2.0", Progress{Config: "old", Generation: 3, Needed: 4, Acked: 2}), ReasonPending, "acknowledged by 3 of 5 proxies"},
		"rejected at the other": {
			report("0.2.0", Progress{Config: "old", Generation: 3, Needed: 4, Rejections: []Rejection{{"shop/a", "no"}}}), ReasonRejected,
			"proxy shop/a rejected it and keeps its last good configuration: \"no\"",
		},
		"the other is behind":                     {report("0.2.0", Progress{Config: "old", Generation: 2, Needed: 4, Acked: 4}), ReasonPending, "the control plane's replicas are taking it in"},
		"the other does not know the kind":        {report("0.2.0"), ReasonAcknowledged, "acknowledged by 1 of 1 proxies"},
		"the other does not tell generations":     {report("", Progress{Config: "old", Needed: 4}), ReasonAcknowledged, "acknowledged by 1 of 1 proxies"},
		"the same release, behind":                {report("0.3.0", Progress{Config: "older", Generation: 3, Needed: 4, Acked: 4}), ReasonPending, "the control plane's replicas are taking it in"},
		"the same release has not looked at it":   {report("0.3.0"), ReasonPending, "the control plane's replicas are taking it in"},
		"another release that makes it the same":  {report("0.2.0", Progress{Config: "new", Generation: 3, Needed: 2, Acked: 2}), ReasonAcknowledged, "acknowledged by 3 of 3 proxies"},
		"the same release, and the same progress": {report("0.3.0", Progress{Config: "new", Generation: 3, Needed: 2, Acked: 1}), ReasonPending, "acknowledged by 2 of 3 proxies"},
	} {
		t.Run(name, func(t *testing.T) {
			w := NewWriter(nil, funcr.New(func(string, string) {}, funcr.Options{}))
			w.Progress(own, mine)
			w.Progress("192.0.2.2", c.other)
			if o := w.judge(s, Requirement{Config: "new", Generation: 3, Near: Near{Namespaces: []string{"shop"}}}); o.Reason != c.reason || o.Message != c.message {
				t.Errorf("%+v", o)
			}
			// Once the other has gone, only what is said here counts.
			w.Drop("192.0.2.2")
			if o := w.judge(s, Requirement{Config: "new", Generation: 3}); o.Reason != ReasonAcknowledged {
				t.Errorf("after it has gone: %+v", o)
			}
		})
	}
}

type noAcks struct{}

func (noAcks) Acks(xds.Key) (needed, acked int, nacks []xds.Nack) { return 0, 0, nil }

func (noAcks) Subscribers(xds.Key, func(xds.Subscriber) bool) {}

// dialing connects to a server, whatever the address.
func dialing(srv *httptest.Server) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, srv.Listener.Addr().String())
	}
}

// TestForeignReplica: a replica that answers nothing this release can read is left out with one line
// in the log, and taken in as soon as it answers.
func TestForeignReplica(t *testing.T) {
	theirs := NewLedger(noAcks{}, "0.2.0")
	theirs.Require(Subject{Kind: "Gateway", Name: "g"}, Requirement{Config: "old", Generation: 1})
	var mu sync.Mutex
	asked := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked++
		h := http.Handler(theirs) // from then on: a later failure would have it left out again
		switch asked {
		case 1:
			h = http.NotFoundHandler()
		case 2:
			h = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"seq":"other"}`)) })
		}
		mu.Unlock()
		h.ServeHTTP(w, r)
	}))
	defer srv.Close()

	lines := make(chan string, 100)
	log := funcr.New(func(_, args string) { lines <- args }, funcr.Options{})
	w := NewWriter(nil, log)
	ctx, cancel := context.WithCancel(t.Context())
	c := Collector{Writer: w, Log: log, Dial: dialing(srv)}
	done := make(chan struct{})
	go func() { c.follow(ctx, "192.0.2.2", c.remote(Peer{Address: "192.0.2.2", Plain: true})); close(done) }()
	for _, want := range []string{"404", "reports again"} {
		if got := <-lines; !strings.Contains(got, want) {
			t.Errorf("%q, want %q in it", got, want)
		}
	}
	for taken := false; !taken; {
		w.mu.Lock()
		taken = len(w.progress["192.0.2.2"]) == 1 && w.releases["192.0.2.2"] == "0.2.0"
		w.mu.Unlock()
	}
	cancel()
	<-done
	if len(lines) > 0 {
		t.Errorf("more lines: %s", <-lines)
	}
}

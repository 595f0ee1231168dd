// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package load

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"

	"tulle.dev/tulle/test/apps/report"
)

// TestCounts: every request is counted once, by status, version, caller and reason.
func TestCounts(t *testing.T) {
	var n atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch n.Add(1) % 10 {
		case 0:
			http.Error(w, "upstream gone", http.StatusServiceUnavailable)
		case 1:
			panic(http.ErrAbortHandler)
		case 2:
			report.Write(w, report.Report{Service: "web", Version: "v2", Pod: "p"})
		default:
			report.Write(w, report.Report{Service: "web", Version: "v1", Pod: "p", Caller: "spiffe://a", Calls: []report.Report{
				{Service: "cart", Version: "v1", Pod: "q"},
			}})
		}
	}))
	defer srv.Close()
	var lines atomic.Int64
	got, err := Run(t.Context(), Options{
		URL: srv.URL, Count: 200, NewConnections: true, Every: time.Millisecond,
		Progress: func(Summary) { lines.Add(1) },
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Summary{
		Target: srv.URL, Done: true, Sent: 200, OK: 160, Failed: 40,
		Statuses: map[string]int{"200": 160, "503": 20},
		Versions: map[string]map[string]int{"web": {"v1": 140, "v2": 20}, "cart": {"v1": 140}},
		Callers:  map[string]map[string]int{"web": {"": 20, "spiffe://a": 140}, "cart": {"": 140}},
		Failures: map[string]int{"status 503: upstream gone": 20, "EOF": 20},
	}
	if got.P50 <= 0 || got.P99 < got.P50 || got.Max < got.P99*0.9 || got.LongestStall <= 0 || got.Seconds <= 0 {
		t.Errorf("times: %+v", got)
	}
	want.P50, want.P99, want.Max, want.LongestStall, want.Seconds = got.P50, got.P99, got.Max, got.LongestStall, got.Seconds
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if lines.Load() < 2 {
		t.Error("no progress")
	}
}

// TestRate: the rate is kept and the time bounds the run; what is under way gets to end.
func TestRate(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(20 * time.Millisecond) }))
	defer srv.Close()
	got, err := Run(t.Context(), Options{URL: srv.URL, Rate: 100, Duration: 500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if got.Sent < 25 || got.Sent > 51 || got.Failed != 0 {
		t.Errorf("%+v", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if got, err = Run(ctx, Options{URL: srv.URL, Duration: time.Hour}); err != nil || got.Sent == 0 || got.Failed != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestStall: a server that stops answering for a while is seen as a stall.
func TestStall(t *testing.T) {
	var n atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if n.Add(1) == 5 {
			time.Sleep(150 * time.Millisecond)
		}
	}))
	defer srv.Close()
	got, err := Run(t.Context(), Options{URL: srv.URL, Count: 10, Workers: 1})
	if err != nil || got.LongestStall < 150 || got.LongestStall > 5000 {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestProtocols: h2c, gRPC, TCP, and TCP with a banner; kept and new connections.
func TestProtocols(t *testing.T) {
	h2 := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			w.WriteHeader(http.StatusHTTPVersionNotSupported)
		}
	}))
	h2.Config.Protocols = new(http.Protocols)
	h2.Config.Protocols.SetUnencryptedHTTP2(true)
	h2.Start()
	defer h2.Close()

	g := grpc.NewServer()
	report.Register(g, "a.B", "C", report.Self{Service: "b", Version: "v3", Pod: "p"}.GRPC)
	lis := listen(t)
	go func() { _ = g.Serve(lis) }()
	defer g.Stop()

	echo := serveTCP(t, "")
	banner := serveTCP(t, "220 hello\n")

	for _, fresh := range []bool{false, true} {
		for url, status := range map[string]string{
			h2.URL: "200",
			"grpc://" + lis.Addr().String() + "/a.B/C": "OK",
			"tcp://" + echo:      "echo",
			"banner://" + banner: "echo",
		} {
			got, err := Run(t.Context(), Options{URL: url, Count: 40, HTTP2: true, NewConnections: fresh})
			if err != nil || got.OK != 40 || got.Statuses[status] != 40 {
				t.Errorf("%s new=%v: %+v, %v", url, fresh, got, err)
			}
		}
	}
	dead := listen(t)
	dead.Close()
	for _, scheme := range []string{"http", "grpc", "tcp"} {
		got, err := Run(t.Context(), Options{URL: scheme + "://" + dead.Addr().String() + "/x", Count: 3, Timeout: 2 * time.Second})
		if err != nil || got.Failed != 3 || len(got.Failures) != 1 {
			t.Errorf("%s: %+v, %v", scheme, got, err)
		}
	}
}

// TestHold: what is held lasts, and has failed if it was cut before its time.
func TestHold(t *testing.T) {
	g := grpc.NewServer()
	report.Register(g, "a.B", "C", report.Self{Service: "b"}.GRPC)
	lis := listen(t)
	go func() { _ = g.Serve(lis) }()
	cut := listen(t)
	go func() { // closes each connection after its second line
		for {
			c, err := cut.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				in := bufio.NewReader(c)
				for range 2 {
					line, _ := in.ReadString('\n')
					_, _ = io.WriteString(c, line)
				}
			}()
		}
	}()
	defer cut.Close()
	held := func(url string) Summary {
		t.Helper()
		s, err := Run(t.Context(), Options{URL: url, Count: 2, Workers: 2, Hold: 400 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	stream := "grpc://" + lis.Addr().String() + "/a.B/Cs"
	for _, url := range []string{stream, "tcp://" + serveTCP(t, ""), "banner://" + serveTCP(t, "220 hello\n")} {
		if s := held(url); s.OK != 2 || s.P50 < 400 {
			t.Errorf("%s: %+v", url, s)
		}
	}
	if s := held("tcp://" + cut.Addr().String()); s.Failed != 2 || s.Failures["EOF"] != 2 {
		t.Errorf("cut: %+v", s)
	}
	time.AfterFunc(100*time.Millisecond, g.Stop)
	if s := held(stream); s.Failed != 2 {
		t.Errorf("the server of a stream ends: %+v", s)
	}
}

// TestWrongOptions: nothing is sent.
func TestWrongOptions(t *testing.T) {
	for _, o := range []Options{{}, {URL: "ftp://a"}, {URL: "grpc://a:1"}, {URL: "tcp://a"}, {URL: "http://a", Rate: -1}, {URL: "http://a", Hold: 1}, {URL: ":"}} {
		if _, err := Run(t.Context(), o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}

// TestQuantile: within 2 % over four orders of magnitude.
func TestQuantile(t *testing.T) {
	start := time.Now()
	tl := newTally("x", start)
	for i := 1; i <= 10000; i++ {
		tl.add(outcome{}, start, start.Add(time.Duration(i)*time.Millisecond))
	}
	s := tl.summary(start, true)
	if s.P50 < 4900 || s.P50 > 5100 || s.P99 < 9700 || s.P99 > 10100 || s.Max != 10000 {
		t.Errorf("%+v", s)
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return lis
}

func serveTCP(t *testing.T, first string) string {
	t.Helper()
	lis := listen(t)
	t.Cleanup(func() { lis.Close() })
	go func() {
		for {
			c, err := lis.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.WriteString(c, first)
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return lis.Addr().String()
}

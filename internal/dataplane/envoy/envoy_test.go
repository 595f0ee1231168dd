// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/downstream_connections/v3" // in the bootstrap
	fixedheapv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/fixed_heap/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3" // in the bootstrap
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"

	"tulle.dev/tulle/internal/dataplane/tally"
	"tulle.dev/tulle/internal/names"
)

// TestBootstrap reads the bootstrap as Envoy does, strictly.
func TestBootstrap(t *testing.T) {
	b, err := Bootstrap(Settings{
		Node:        Node{ID: "sidecar.shop.cart-0.uid", Cluster: "cart.shop", Metadata: map[string]string{"TULLE_SLOT": "a"}},
		AdminSocket: "/run/tulle/a/admin.sock", XDSSocket: "/run/tulle/a/xds.sock", Heap: 512 << 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	var c bootstrapv3.Bootstrap
	if err := protojson.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	if err := c.ValidateAll(); err != nil {
		t.Error(err)
	}
	got := map[string]string{
		"node":  c.GetNode().GetId() + " " + c.GetNode().GetMetadata().GetFields()["TULLE_SLOT"].GetStringValue(),
		"admin": c.GetAdmin().GetAddress().GetPipe().GetPath(),
		"xds":   c.GetStaticResources().GetClusters()[0].GetLoadAssignment().GetEndpoints()[0].GetLbEndpoints()[0].GetEndpoint().GetAddress().GetPipe().GetPath(),
		"ads":   c.GetDynamicResources().GetAdsConfig().GetApiType().String(),
	}
	want := map[string]string{"node": "sidecar.shop.cart-0.uid a", "admin": "/run/tulle/a/admin.sock", "xds": "/run/tulle/a/xds.sock", "ads": "DELTA_GRPC"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	var heap fixedheapv3.FixedHeapConfig
	monitors := c.GetOverloadManager().GetResourceMonitors()
	if err := monitors[len(monitors)-1].GetTypedConfig().UnmarshalTo(&heap); err != nil || heap.GetMaxHeapSizeBytes() != 512<<20 {
		t.Errorf("%v, %v, want a heap of 512 MiB", &heap, err)
	}
}

// TestStats: what the agent needs is kept, and what costs memory per Service without a reader is not.
func TestStats(t *testing.T) {
	kept := regexp.MustCompile("^(" + strings.Join(stats(), "|") + ")$").MatchString
	for _, name := range []string{
		"server.live", "listener_manager.workers_started", "listener_manager.total_listeners_warming", "cluster_manager.warming_clusters",
		"http.std/in-http1.downstream_rq_active", "http.std/in-http1.downstream_rq_total", "http.gw/shop/front/80.downstream_rq_5xx",
		"http.std/in-http1.downstream_cx_tx_bytes_buffered", "tcp.std/in-tcp.downstream_cx_total",
		"http.gw/shop/front/80.downstream_rq_idle_timeout", "http.std/in-http2.downstream_rq_too_many_premature_resets", "http1.dropped_headers_with_underscores",
		"http2.inbound_empty_frames_flood", "http2.requests_rejected_with_underscores_in_headers", "http2.tx_flush_timeout", "listener.0.0.0.0_80.downstream_global_cx_overflow",
		"listener.0.0.0.0_443.downstream_pre_cx_timeout", "envoy.overload_actions.reset_high_memory_stream.count", "overload.envoy.overload_actions.shrink_heap.active",
		"listener.0.0.0.0_15006.downstream_cx_active", "plaintext.received.source.198.18.9.30", "cluster.out/shop/web/80.upstream_rq_2xx", "cluster.std/in-tcp.upstream_cx_active",
	} {
		if !kept(name) {
			t.Errorf("%s is not kept", name)
		}
	}
	for _, name := range []string{
		"cluster.out/shop/web/80.upstream_cx_rx_bytes_total", "cluster.out/shop/web/80.upstream_rq_time", "cluster.out/shop/web/80.circuit_breakers.default.cx_open",
		"http.out/shop/web/80.downstream_rq_idle_timeout", "http2.streams_active", "cluster.out/shop/web/80.http2.tx_reset", "cluster.out/shop/web/80.http2.outbound_flood",
		"http.std/in-http1.downstream_cx_ssl_total", "listener.0.0.0.0_15006.downstream_pre_cx_active", "runtime.load_success",
	} {
		if kept(name) {
			t.Errorf("%s is kept", name)
		}
	}
}

func TestActivity(t *testing.T) {
	v := map[string]uint64{
		"http.std/in-http1.downstream_rq_active":               2,
		"http.std/in-http2.downstream_rq_active":               1,
		"http.std/in-http1.downstream_cx_tx_bytes_buffered":    10,
		"cluster.std/in-tcp.upstream_cx_active":                4,
		"http.std/in-http1.downstream_rq_total":                100,
		"tcp.std/in-tcp.downstream_cx_total":                   7,
		"http.out/shop/web/80.downstream_rq_active":            50, // the pod's own requests
		"http.out/shop/web/80.downstream_rq_total":             5000,
		"http.gw/shop/front/80.downstream_rq_active":           3,
		"http.gw/shop/front/80/https.downstream_rq_total":      30,
		"listener.0.0.0.0_15006.downstream_cx_active":          8,
		"listener.0.0.0.0_15006.worker_0.downstream_cx_active": 8,
		"listener.198.19.0.80_80.downstream_cx_active":         1,
		"listener.admin.downstream_cx_active":                  1,
	}
	for kind, want := range map[string]Activity{
		names.KindSidecar: {Active: 17, Begun: 107, All: 9},
		names.KindGateway: {Active: 3, Begun: 30, All: 9},
	} {
		if got := activity(v, kind); got != want {
			t.Errorf("%s: %+v, want %+v", kind, got, want)
		}
	}
}

// fakeEnvoy serves an admin socket.
func fakeEnvoy(t *testing.T, answers map[string]string) *Admin {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "admin.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, ok := answers[r.Method+" "+r.URL.Path]
		if !ok {
			http.Error(w, "no", http.StatusBadRequest)
			return
		}
		w.Write([]byte(a))
	})}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return NewAdmin(socket)
}

func TestReady(t *testing.T) {
	good := "server.live: 1\nlistener_manager.workers_started: 1\nlistener_manager.total_listeners_active: 3\nlistener_manager.total_listeners_warming: 0\ncluster_manager.warming_clusters: 0\n"
	for _, c := range []struct{ from, to, lacks string }{
		{"", "", ""},
		{"live: 1", "live: 0", "Envoy is initializing"},
		{"started: 1", "started: 0", "Envoy's workers have not started"},
		{"active: 3", "active: 0", "Envoy has no listeners"},
		{"warming: 0", "warming: 2", "2 of Envoy's listeners are waiting for their routes or secrets"},
		{"clusters: 0", "clusters: 1", "1 of Envoy's clusters are waiting for their endpoints or secrets"},
	} {
		a := fakeEnvoy(t, map[string]string{"GET /stats": strings.Replace(good, c.from, c.to, 1)})
		if lacks, err := a.Ready(t.Context(), false); err != nil || lacks != c.lacks {
			t.Errorf("%q: %q, %v; want %q", c.to, lacks, err, c.lacks)
		}
		lacks, err := a.Ready(t.Context(), true)
		if want := strings.TrimSuffix(c.lacks, "Envoy has no listeners"); err != nil || lacks != want {
			t.Errorf("%q, where there is nothing to listen on: %q, %v; want %q", c.to, lacks, err, want)
		}
	}
	if _, err := fakeEnvoy(t, nil).Ready(t.Context(), false); err == nil {
		t.Error("an Envoy that answers 400 is taken for ready")
	}
}

// TestSample reads what Envoy 1.40 answers. The admin interface's own requests and the pod's outbound
// ones don't count.
func TestSample(t *testing.T) {
	text := `http.std/in-http1.downstream_rq_2xx: 8
http.std/in-http1.downstream_rq_4xx: 1
http.std/in-http1.downstream_rq_5xx: 2
http.std/in-http1.downstream_rq_active: 1
http.std/in-http1.downstream_rq_completed: 12
http.std/in-http1.downstream_rq_total: 13
http.std/in-http2.downstream_rq_2xx: 100
http.std/in-http2.downstream_rq_completed: 100
http.std/in-http2.downstream_rq_total: 100
http.std/in-http1.downstream_rq_time:
  totals=0,0:1, 1,0.1:1, 7,0.1:1, 130,10:2, 1.8e+06,100000:1
  intervals=0,0:1, 1,0.1:9
  summary=P0(0,0) P25(7.05,7.05)
plaintext.received.source.198.18.9.30: 12
plaintext.received.source.fd00::1:2: 3
plaintext.received.source.-: 4
plaintext.received.source.198.18.9.31: 0
http.std/in-http2.downstream_rq_time:
  totals=1,0.1:100
  intervals=
  summary=P0(0,0)
`
	want := tally.Sample{
		Begun: 113, Active: 1, Headed: 112, Answered: 111, Errors: 2,
		Times:     tally.Histogram{{Count: 1}, {Low: 1, Width: 0.1, Count: 101}, {Low: 7, Width: 0.1, Count: 1}, {Low: 130, Width: 10, Count: 2}, {Low: 1.8e6, Width: 1e5, Count: 1}},
		Plaintext: []tally.Source{{Addr: netip.MustParseAddr("198.18.9.30"), Count: 12}, {Addr: netip.MustParseAddr("fd00::1:2"), Count: 3}},
	}
	got, err := fakeEnvoy(t, map[string]string{"GET /stats": text}).Sample(t.Context(), names.KindSidecar)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for _, stat := range []string{"total", "active", "completed", "2xx", "5xx", "time"} {
		name := "http.std/in-http2.downstream_rq_" + stat
		if !slices.ContainsFunc(stats(), func(p string) bool { return regexp.MustCompile("^(" + p + ")$").MatchString(name) }) {
			t.Errorf("%s is not kept", name)
		}
	}
}

// TestPrometheus: everything is passed on but what has clients' addresses.
func TestPrometheus(t *testing.T) {
	kept := "# TYPE envoy_server_live gauge\nenvoy_server_live{} 1\n"
	a := fakeEnvoy(t, map[string]string{
		"GET /stats/prometheus": "# TYPE envoy_plaintext_received counter\nenvoy_plaintext_received{source=\"198.18.9.30\"} 4\n\n" + kept,
	})
	var b strings.Builder
	if err := a.Prometheus(t.Context(), &b); err != nil || b.String() != "\n"+kept {
		t.Errorf("%q, %v", b.String(), err)
	}
}

// sleeper is a program that ends only when told.
func sleeper(t *testing.T, stubborn bool) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "envoy")
	trap := ""
	if stubborn {
		trap = "trap '' TERM; "
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+trap+"echo started > $(dirname $2)/started\nwhile :; do sleep 0.05; done\n"), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	return path
}

func started(t *testing.T, dir string) {
	t.Helper()
	for until := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, "started")); err == nil {
			return
		}
		if time.Now().After(until) {
			t.Fatal("the program did not start")
		}
	}
}

func TestProcess(t *testing.T) {
	dir := t.TempDir()
	if p := Adopt(dir); p != nil {
		t.Fatalf("adopted %d out of nothing", p.PID)
	}
	p, err := Start(Options{Binary: sleeper(t, false), Dir: dir, Bootstrap: []byte("{}")})
	if err != nil {
		t.Fatal(err)
	}
	started(t, dir)
	adopted := Adopt(dir)
	if adopted == nil || adopted.PID != p.PID || !adopted.Adopted {
		t.Fatalf("adopted %+v, want %d", adopted, p.PID)
	}
	adopted.Stop(5 * time.Second)
	<-p.Done()
	if Adopt(dir) != nil {
		t.Error("adopted a dead process")
	}
	p.Stop(time.Second) // nothing happens, whoever has the pid now
	if !strings.Contains(p.How(), "terminated") {
		t.Errorf("it ended by %q, want the signal", p.How())
	}
}

// TestAdoptsOnlyItsOwn: a pid that has gone to another process is not Envoy's.
func TestAdoptsOnlyItsOwn(t *testing.T) {
	dir := t.TempDir()
	other := exec.Command("sleep", "60")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { other.Process.Kill(); other.Wait() }()
	for _, content := range []string{"", "x y", "99999999 1", fmt.Sprint(other.Process.Pid, " 1")} {
		if err := os.WriteFile(filepath.Join(dir, pidFile), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if p := Adopt(dir); p != nil {
			t.Errorf("%q: adopted %d", content, p.PID)
		}
	}
}

func TestStopOfTheStubborn(t *testing.T) {
	dir := t.TempDir()
	p, err := Start(Options{Binary: sleeper(t, true), Dir: dir, Bootstrap: []byte("{}")})
	if err != nil {
		t.Fatal(err)
	}
	started(t, dir)
	p.Stop(50 * time.Millisecond)
	if err := syscall.Kill(p.PID, 0); err == nil {
		t.Error("it still runs")
	}
}

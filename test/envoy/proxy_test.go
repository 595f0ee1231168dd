// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tulle.dev/tulle/internal/controlplane/envoy"
	agentenvoy "tulle.dev/tulle/internal/dataplane/envoy"
	"tulle.dev/tulle/internal/names"
)

// proxy is a real Envoy inside a pod's namespace, run by the user whose traffic is not redirected.
type proxy struct {
	pid   int // of Envoy
	node  string
	ads   *ads
	admin *http.Client
}

// startProxy starts Envoy in ns with what it shall hold, and waits until all of it is at work.
func startProxy(t *testing.T, bin string, ns *netns, server *ads, node string, resources []envoy.Resource) *proxy {
	t.Helper()
	versions := server.set(t, node, resources)
	p := launch(t, bin, ns, node, server.socket, server.limits)
	p.ads = server
	p.settle(t, versions)
	return p
}

// launch starts Envoy in ns; it asks for its configuration on a socket.
func launch(t *testing.T, bin string, ns *netns, node, socket string, server limits) *proxy {
	t.Helper()
	dir := shared(t)
	sock, config, logPath := filepath.Join(dir, "admin.sock"), filepath.Join(dir, "envoy.json"), filepath.Join(dir, "envoy.log")
	p := &proxy{node: node, admin: &http.Client{
		Timeout: 10 * time.Second,
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", sock)
		}},
	}}
	if err := os.WriteFile(config, encode(t, dynamicBootstrap(node, socket, sock, server.heap, server.files)), 0o644); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(logPath)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	level := os.Getenv("TULLE_ENVOY_LOG_LEVEL")
	if level == "" {
		level = "warning"
	}
	argv := []string{bin, "-c", config, "--concurrency", "1", "--disable-hot-restart", "--drain-time-s", "2", "-l", level}
	if server.files > 0 {
		argv = append([]string{"sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, server.files)}, argv...)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	// Killed with the thread that started it, and so with the test whatever becomes of it.
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: names.ProxyUID, Gid: names.ProxyUID},
		Pdeathsig:  syscall.SIGKILL,
	}
	started, stop := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		err := unix.Setns(ns.fd, unix.CLONE_NEWNET)
		if err == nil {
			err = cmd.Start()
		}
		started <- err
		<-stop
	}()
	if err := <-started; err != nil {
		close(stop)
		t.Fatal(err)
	}
	p.pid = cmd.Process.Pid
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		close(stop)
		if b, err := os.ReadFile(logPath); err == nil && len(b) > 0 && t.Failed() {
			t.Logf("log of %s:\n%s", node, b[max(0, len(b)-8000):])
		}
	})
	return p
}

// update changes what the proxy holds and waits until it is at work.
func (p *proxy) update(t *testing.T, resources []envoy.Resource) {
	t.Helper()
	p.settle(t, p.ads.set(t, p.node, resources))
}

// settle waits until Envoy uses exactly the given versions and nothing is warming.
func (p *proxy) settle(t *testing.T, want map[envoy.Ref]string) {
	t.Helper()
	last := "nothing yet"
	eventually(t, 30*time.Second, func() error {
		if msg := p.ads.refusal(p.node); msg != "" {
			t.Fatalf("%s refuses its config: %s", p.node, msg)
		}
		if typ := p.ads.waiting(p.node); typ != "" {
			return fmt.Errorf("%s has not answered about %s", p.node, typ)
		}
		dump, err := p.dump()
		if err != nil {
			return err
		}
		last = dump.differs(want)
		if last != "" {
			return fmt.Errorf("%s has not settled: %s", p.node, last)
		}
		return nil
	})
}

// get asks the admin interface.
func (p *proxy) get(path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://admin"+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := p.admin.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

// stat reads one counter or gauge.
func (p *proxy) stat(t *testing.T, name string) int {
	t.Helper()
	b, err := p.get("/stats?format=json&filter=" + name)
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Stats []struct {
			Name  string
			Value int
		}
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	sum := 0
	for _, s := range v.Stats {
		sum += s.Value
	}
	return sum
}

// dump is the part of /config_dump that settle reads.
type dump struct {
	Configs []struct {
		Listeners []struct {
			Name    string
			Active  *versioned `json:"active_state"`
			Warming *versioned `json:"warming_state"`
		} `json:"dynamic_listeners"`
		Clusters []versioned       `json:"dynamic_active_clusters"`
		Warming  []json.RawMessage `json:"dynamic_warming_clusters"`
		Routes   []versioned       `json:"dynamic_route_configs"`
		Secrets  []versioned       `json:"dynamic_active_secrets"`
		Filters  []versioned       `json:"ecds_filters"`
	}
}

type versioned struct {
	Version string `json:"version_info"`
	Name    string `json:"name"`
	Cluster struct{ Name string }
	Routes  struct{ Name string } `json:"route_config"`
	Filter  struct{ Name string } `json:"ecds_filter"`
}

func (p *proxy) dump() (dump, error) {
	var d dump
	b, err := p.get("/config_dump")
	if err != nil {
		return d, err
	}
	if err := json.Unmarshal(b, &d); err != nil {
		return d, fmt.Errorf("config_dump: %w", err)
	}
	ready, err := p.get("/ready")
	if err == nil && string(ready) != "LIVE\n" {
		err = fmt.Errorf("ready says %q", ready)
	}
	return d, err
}

// differs says in what the proxy's state differs from the versions wanted, or "".
func (d dump) differs(want map[envoy.Ref]string) string {
	got := map[envoy.Ref]string{}
	for _, c := range d.Configs {
		if len(c.Warming) > 0 {
			return "a cluster is warming"
		}
		for _, l := range c.Listeners {
			if l.Warming == nil && l.Active == nil {
				continue // draining: it takes no connections any more
			}
			if l.Warming != nil {
				return "listener " + l.Name + " is warming"
			}
			got[envoy.Ref{TypeURL: envoy.ListenerType, Name: l.Name}] = l.Active.Version
		}
		for _, v := range c.Clusters {
			got[envoy.Ref{TypeURL: envoy.ClusterType, Name: v.Cluster.Name}] = v.Version
		}
		for _, v := range c.Routes {
			got[envoy.Ref{TypeURL: envoy.RoutesType, Name: v.Routes.Name}] = v.Version
		}
		for _, v := range c.Filters {
			got[envoy.Ref{TypeURL: envoy.ExtensionType, Name: v.Filter.Name}] = v.Version
		}
		for _, v := range c.Secrets {
			got[envoy.Ref{TypeURL: envoy.SecretType, Name: v.Name}] = v.Version
		}
	}
	for ref, v := range want {
		switch ref.TypeURL {
		case envoy.ListenerType, envoy.ClusterType:
			if got[ref] != v {
				return fmt.Sprintf("%s is at %q, not %q", ref.Name, got[ref], v)
			}
		case envoy.RoutesType, envoy.SecretType, envoy.ExtensionType: // only what a cluster or listener asks for
			if g, ok := got[ref]; ok && g != v {
				return fmt.Sprintf("%s is at %q, not %q", ref.Name, g, v)
			}
		}
	}
	for ref := range got {
		if _, ok := want[ref]; !ok && ref.TypeURL != envoy.RoutesType && ref.TypeURL != envoy.ExtensionType {
			return ref.Name + " is still there"
		}
	}
	return ""
}

// evictEvery is after how long, at least, a client's address that came no more is forgotten.
const evictEvery = 10 * time.Second

// kindOf is the kind of a proxy, by its name in the test.
func kindOf(node string) string {
	if strings.HasPrefix(node, "gateway") {
		return names.KindGateway
	}
	return names.KindSidecar
}

// dynamicBootstrap is the agent's, as far as it matters here.
func dynamicBootstrap(node, xds, admin string, heap, files uint64) map[string]any {
	h2 := map[string]any{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": map[string]any{
		"@type":                "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
		"explicit_http_config": map[string]any{"http2_protocol_options": map[string]any{}},
	}}
	pipe := func(path string) map[string]any { return map[string]any{"pipe": map[string]any{"path": path}} }
	fromADS := map[string]any{"ads": map[string]any{}, "resource_api_version": "V3"}
	return map[string]any{
		"node":  map[string]any{"id": node, "cluster": "test"},
		"admin": map[string]any{"address": pipe(admin)},
		"static_resources": map[string]any{"clusters": []any{map[string]any{
			"name": "xds", "type": "STATIC", "typed_extension_protocol_options": h2,
			"load_assignment": map[string]any{"cluster_name": "xds", "endpoints": []any{map[string]any{
				"lb_endpoints": []any{map[string]any{"endpoint": map[string]any{"address": pipe(xds)}}},
			}}},
		}}},
		"dynamic_resources": map[string]any{
			"ads_config": map[string]any{
				"api_type": "DELTA_GRPC", "transport_api_version": "V3",
				"grpc_services": []any{map[string]any{"envoy_grpc": map[string]any{"cluster_name": "xds"}}},
			},
			"cds_config": fromADS, "lds_config": fromADS,
		},
		"layered_runtime": agentenvoy.Runtime(kindOf(node)),
		// As the agent has it, but sooner.
		"stats_eviction_interval": evictEvery.String(),
		"overload_manager":        agentenvoy.Overload(heap, files),
	}
}

// shared is a directory of the test that other users may enter.
func shared(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tulle-envoy-") //nolint:usetesting // t.TempDir is closed to other users, and too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

// executable makes Envoy available to the proxy's user, who can't enter root's home.
func executable(t *testing.T, bin string) string {
	t.Helper()
	to := filepath.Join(shared(t), "envoy")
	if os.Link(bin, to) == nil {
		return to
	}
	from, err := os.Open(bin)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	f, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(f, from); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return to
}

// eventually tries f until it returns nil, and fails with its last word at the end of the time.
func eventually(t *testing.T, limit time.Duration, f func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v: %v", limit, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/testing/simulate"
	"tulle.dev/tulle/internal/testing/xdsyaml"
)

// TestParity asks the real Envoy what the golden cases' requests.yaml asks the simulation, and
// expects the same answers. Only the clusters are others: each is an application in plaintext that
// says the cluster's name.
func TestParity(t *testing.T) {
	m := newMesh(t)
	apps := m.wire.plug(t, "198.18.9.50", false)
	beside := m.wire.plug(t, "198.18.9.2", true)
	gateway := m.wire.plug(t, "198.18.9.3", false)
	if err := gateway.in(func() error { // as the kubelet does for Gateways' pods
		return os.WriteFile("/proc/sys/net/ipv4/ip_unprivileged_port_start", []byte("0"), 0)
	}); err != nil {
		t.Fatal(err)
	}
	pr := &parity{m: m, apps: apps, port: 20000}
	pr.beside = startProxy(t, m.bin, beside, m.ads, "beside", envoy.Common(model.Settings{}))
	pr.gateway = startProxy(t, m.bin, gateway, m.ads, "gateway", envoy.Common(model.Settings{}))
	files, err := filepath.Glob("../../internal/controlplane/envoy/testdata/*/requests.yaml")
	if err != nil {
		t.Fatal(err)
	}
	asked, ran := 0, 0
	for _, f := range files {
		t.Run(filepath.Base(filepath.Dir(f)), func(t *testing.T) {
			n := pr.run(t, filepath.Dir(f), beside)
			if n == 0 {
				t.Log("nothing in this case can be asked here; inbound_test.go asks it")
			}
			asked, ran = asked+n, ran+1
		})
	}
	if ran == len(files) && asked < 80 {
		t.Errorf("only %d questions were asked", asked)
	}
}

type parity struct {
	m               *mesh
	apps            *netns
	port            uint16
	beside, gateway *proxy
}

type question struct {
	What string `json:"what"`
	simulate.Connection
	Want simulate.Outcome `json:"want"`
}

func (pr *parity) run(t *testing.T, dir string, beside *netns) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "xds.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	resources, err := xdsyaml.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if b, err = os.ReadFile(filepath.Join(dir, "requests.yaml")); err != nil {
		t.Fatal(err)
	}
	var questions []question
	if err := yaml.UnmarshalStrict(b, &questions); err != nil {
		t.Fatal(err)
	}
	questions = slices.DeleteFunc(questions, func(q question) bool {
		return q.To.Addr().Is6() || strings.HasPrefix(q.Listener, "in/") ||
			q.Want.Clusters[names.Passthrough] > 0 || strings.HasPrefix(q.Want.Listener, "pod/") || isStreamTest(q) ||
			q.Want.MutualTLS // the client here has no certificate; see TestGatewayClients
	})
	if len(questions) == 0 {
		return 0
	}
	apps, resources := pr.stand(t, resources)
	proxy, from := pr.beside, beside
	if strings.HasPrefix(questions[0].Listener, "gw/") {
		proxy, from = pr.gateway, pr.apps
	}
	proxy.update(t, resources)
	for _, q := range questions {
		to := q.To.String()
		if proxy == pr.gateway {
			to = net.JoinHostPort("198.18.9.3", fmt.Sprint(q.To.Port()))
		}
		t.Run(q.What, func(t *testing.T) { compare(t, from, to, q, apps) })
	}
	return len(questions)
}

// isStreamTest: what the applications here, which speak neither UDP nor TLS, can't answer; stream_test.go asks it.
func isStreamTest(q question) bool {
	passed := q.TLS != nil && !q.Want.TLS && len(q.Want.Clusters) > 0 && q.Want.Clusters[names.Blackhole] == 0
	return passed || strings.Contains(q.Listener, "/udp/")
}

// stand puts an application in the place of each cluster.
func (pr *parity) stand(t *testing.T, resources []envoy.Resource) (map[string]*app, []envoy.Resource) {
	t.Helper()
	apps := map[string]*app{}
	var out []envoy.Resource
	for _, r := range resources {
		switch c := r.Message.(type) {
		case *clusterv3.Cluster:
			if c.GetType() == clusterv3.Cluster_ORIGINAL_DST {
				break
			}
			c = proto.Clone(c).(*clusterv3.Cluster)
			c.TransportSocket, c.TransportSocketMatches = nil, nil
			r.Message = c
			pr.port++
			apps[r.Name] = serve(t, pr.apps.listen(t, fmt.Sprintf(":%d", pr.port)), r.Name)
			out = append(out, envoy.Resource{TypeURL: envoy.EndpointsType, Name: r.Name, Message: &endpointv3.ClusterLoadAssignment{
				ClusterName: r.Name, Endpoints: envoyEndpoints(t, pr.port),
			}})
		case *endpointv3.ClusterLoadAssignment:
			continue
		}
		if r.TypeURL == envoy.SecretType {
			continue
		}
		if r.Message != nil {
			out = append(out, r)
		}
	}
	for _, s := range newStatic(resources).secrets {
		if s.GetTlsCertificate() != nil {
			l := pr.m.pki.leaf(t, "", "www.example.com")
			s.GetTlsCertificate().CertificateChain, s.GetTlsCertificate().PrivateKey = text(l.chain), text(l.key)
			out = append(out, envoy.Resource{TypeURL: envoy.SecretType, Name: s.GetName(), Message: s})
		}
	}
	return apps, withCommon(out)
}

func envoyEndpoints(t *testing.T, port uint16) []*endpointv3.LocalityLbEndpoints {
	t.Helper()
	e := envoy.Endpoints(model.Endpoints{List: []model.Endpoint{plain("198.18.9.50", port)}})
	return e.Message.(*endpointv3.ClusterLoadAssignment).GetEndpoints()
}

// compare asks once, or often where several answers are right, and compares.
func compare(t *testing.T, from *netns, to string, q question, apps map[string]*app) {
	t.Helper()
	total := uint32(0)
	for _, weight := range q.Want.Clusters {
		total += weight
	}
	n := 1
	if len(q.Want.Clusters) > 1 || len(q.Want.Mirrors) > 0 {
		n = 200
	}
	if q.Want.Hashed {
		n = 1 // one client address has one answer; which one is not known
	}
	before := map[string]int64{}
	for name, a := range apps {
		before[name] = a.asked.Load()
	}
	got := map[string]int{}
	for range n {
		a := one(t, from, to, q)
		who := a.echo.Pod
		switch {
		case who == "" && a.status == 0:
			who = names.Blackhole // closed
		case who == "":
			who = names.NoBackend
		}
		got[who]++
		if same(t, q, a); t.Failed() {
			return
		}
	}
	if q.Want.Hashed {
		return
	}
	for name, weight := range q.Want.Clusters {
		share := float64(weight) / float64(total)
		if dev := math.Abs(float64(got[name]) - share*float64(n)); dev > 1+5*math.Sqrt(float64(n)*share*(1-share)) {
			t.Errorf("%s has %d of %d requests, want a share of %.2f", name, got[name], n, share)
		}
		delete(got, name)
	}
	if len(q.Want.Clusters) > 0 && len(got) > 0 {
		t.Errorf("others got requests: %v", got)
	}
	for name, parts := range q.Want.Mirrors {
		share := float64(parts) / 1e6
		eventually(t, 5*time.Second, func() error {
			copies := float64(apps[name].asked.Load() - before[name])
			if dev := math.Abs(copies - share*float64(n)); dev > 5*math.Sqrt(float64(n)*share*(1-share)) {
				return fmt.Errorf("%s has %v copies of %d, want a share of %.2f", name, copies, n, share)
			}
			return nil
		})
	}
}

// one opens a connection and asks once; a closed connection is the zero answer.
func one(t *testing.T, from *netns, to string, q question) answer {
	t.Helper()
	c, err := from.dial(t.Context(), "tcp4", to)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if q.TLS != nil {
		c = tls.Client(c, &tls.Config{ServerName: q.TLS.SNI, InsecureSkipVerify: true}) //nolint:gosec // whose certificate it is does not matter here
	}
	r := simulate.Request{Host: "bytes"}
	if q.Request != nil {
		r = *q.Request
	}
	if r.Method == "" {
		r.Method = http.MethodGet
	}
	if r.Path == "" {
		r.Path = "/"
	}
	msg := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n", r.Method, r.Path, r.Host)
	for k, v := range r.Headers {
		msg += k + ": " + v + "\r\n"
	}
	if _, err := io.WriteString(c, msg+"\r\n"); err != nil {
		return answer{}
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: r.Method})
	if err != nil {
		return answer{}
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	a := answer{status: resp.StatusCode, headers: resp.Header, body: string(b)}
	_ = json.Unmarshal(b, &a.echo)
	return a
}

// same compares an answer with what the simulation says.
func same(t *testing.T, q question, a answer) {
	t.Helper()
	if q.Want.Closed && a.status != 0 {
		t.Errorf("answered with %d, want it closed", a.status)
	}
	for k, v := range q.Want.Response {
		if got := a.headers.Get(k); got != v {
			t.Errorf("response header %s is %q, want %q", k, got, v)
		}
	}
	if a.echo.Pod == "" {
		grpc := q.Request != nil && strings.HasPrefix(q.Request.Headers["content-type"], "application/grpc")
		switch {
		case q.Want.Status == 0 && q.Want.Clusters[names.Blackhole] == 0 && !q.Want.Closed:
			t.Errorf("answered with %d by the proxy: %s", a.status, a.body)
		case grpc: // a gRPC client gets gRPC's status in a response of 200
			if want := map[int]string{503: "14", 404: "12"}[q.Want.Status]; a.headers.Get("Grpc-Status") != want {
				t.Errorf("gRPC status %q, want %s", a.headers.Get("Grpc-Status"), want)
			}
		case a.status != q.Want.Status:
			t.Errorf("status %d, want %d", a.status, q.Want.Status)
		}
		if got := a.headers.Get("Location"); got != q.Want.Location {
			t.Errorf("location %q, want %q", got, q.Want.Location)
		}
		return
	}
	if q.Request == nil {
		return
	}
	want := map[string]string{":path": q.Want.Path, ":authority": q.Want.Host}
	if want[":path"] == "" {
		if want[":path"] = q.Request.Path; want[":path"] == "" {
			want[":path"] = "/"
		}
	}
	if want[":authority"] == "" {
		want[":authority"] = q.Request.Host
	}
	for k, v := range q.Want.Headers {
		want[k] = v
	}
	for k, v := range q.Want.Shares[a.echo.Pod] {
		want[k] = v
	}
	got := a.echo.Headers
	got[":path"], got[":authority"] = a.echo.Path, a.echo.Host
	for k, v := range want {
		if got[k] != v {
			t.Errorf("the backend gets %s %q, want %q", k, got[k], v)
		}
	}
}

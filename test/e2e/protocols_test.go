// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"tulle.dev/tulle/internal/testing/cluster"
)

// speaker serves every protocol the echo app has, under names and numbers that tell the mesh more or less.
// Port 3306 is one of those that the mesh knows to speak first; 7100 is declared, 7200 unknown to it. Five
// ports with four protocols lead to the same port of the application.
var speaker = cluster.Echo{
	Name: "server",
	Args: []string{"-tcp", ":7000", "-banner", ":3306", "-https", ":8443"},
	Ports: `[{name: http, port: 80, targetPort: 8080}, {name: grpc, port: 9090},
    {name: web, port: 82, targetPort: 8080, appProtocol: http}, {name: grpc-same, port: 9091, targetPort: 8080},
    {name: grpc-web, port: 84, targetPort: 8080}, {name: tcp-raw, port: 81, targetPort: 8080}, {name: https, port: 443, targetPort: 8443},
    {name: tcp-echo, port: 7000}, {name: plain, port: 7001, targetPort: 7000},
    {name: database, port: 3306}, {name: tcp-mail, port: 7100, targetPort: 3306}, {name: greeting, port: 7200, targetPort: 3306}]`,
}

// TestProtocols: what a server speaks gets through unchanged, from a meshed client with mutual TLS
// and from one without a proxy.
func TestProtocols(t *testing.T) {
	t.Parallel()
	c := cluster.Connect(t)
	ns := c.Namespace(t, "protocols", meshed)
	c.Deploy(t, ns, speaker)
	c.Deploy(t, ns, cluster.Echo{Name: "modern", Ports: "[{name: h2c, port: 80, targetPort: 8080}]"})
	c.Deploy(t, ns, cluster.Echo{Name: "inside", NoService: true})
	c.Deploy(t, ns, cluster.Echo{Name: "outside", Labels: []string{"tulle.dev/inject: disabled"}, NoService: true})
	c.Ready(t, ns, "server", "modern", "inside", "outside")
	server := podOf(t, c, ns, "server")
	clients := map[string]from{"inside": podOf(t, c, ns, "inside"), "outside": podOf(t, c, ns, "outside")}
	for _, f := range clients {
		f.get(t, "http://server/")
	}
	wait := speakSlowly(t, clients)
	t.Run("from", func(t *testing.T) {
		for name, caller := range map[string]string{"inside": spiffe(ns, "inside"), "outside": ""} {
			f := clients[name]
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				t.Run("HTTP", func(t *testing.T) { speakHTTP(t, f, caller) })
				t.Run("bodies", func(t *testing.T) { speakBodies(t, f) })
				t.Run("bytes", func(t *testing.T) { speakBytes(t, f) })
				t.Run("past the Service", func(t *testing.T) { pastService(t, f, readyPod(t, c, ns, server.pod)) })
			})
		}
	})
	wait()
}

// answered is an exchange that must end well with 200.
func answered(t *testing.T, f from, args ...string) dialed {
	t.Helper()
	d := f.dial(t, append([]string{"http"}, args...)...)
	if d.Error != "" || d.Status != 200 {
		t.Errorf("%v: %d %s %s", args, d.Status, d.Text, d.Error)
	}
	return d
}

// echoOf reads what the echo app says of the request that reached it.
func echoOf(t *testing.T, text string) (e struct {
	Method, Path, Host, TLS string
	Headers                 map[string][]string
	BodyBytes               int64
},
) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		t.Errorf("read %q: %v", text, err)
	}
	return e
}

func speakHTTP(t *testing.T, f from, caller string) {
	for _, url := range []string{"http://server/", "http://server:82/", "http://server:84/"} {
		if d := answered(t, f, url); d.Report.Protocol != "HTTP/1.1" || d.Report.Caller != caller {
			t.Errorf("%s: %+v", url, d.Report)
		}
	}
	if d := answered(t, f, "-h2", "http://modern/"); d.Proto != "HTTP/2.0" || d.Report.Protocol != "HTTP/2.0" || d.Report.Caller != caller {
		t.Errorf("HTTP/2: %s %+v", d.Proto, d.Report)
	}
	if d := answered(t, f, "-h2", "http://server:9091/"); d.Report.Protocol != "HTTP/2.0" || d.Report.Caller != caller {
		t.Errorf("HTTP/2 to a port that others call HTTP/1.1: %+v", d.Report)
	}
	if caller != "" { // in plaintext the port is HTTP, and a client of HTTP that closes its side gets no answer
		d := f.dial(t, "tcp", "-half-close", "-send", `GET /hit/x HTTP/1.1\r\nHost: raw\r\nConnection: close\r\n\r\n`, "server:81")
		if d.Error != "" || !strings.HasPrefix(d.Text, "HTTP/1.1 200") {
			t.Errorf("bytes to a port that others call HTTP: %q %s", d.Text, d.Error)
		}
	}
	if d := f.dial(t, "grpc", "server:9090"); d.Error != "" || d.Report.Caller != caller {
		t.Errorf("gRPC: %s %+v", d.Error, d.Report)
	}
	for _, url := range []string{"ws://server/ws", "ws://server:84/ws"} {
		if d := f.dial(t, "ws", url); d.Error != "" || d.Bytes != 50008 {
			t.Errorf("WebSocket to %s: %d bytes, %s", url, d.Bytes, d.Error)
		}
	}
	// HTTP/1.0, without and with a Host: the answer has an end, with which the connection ends.
	for _, host := range []string{"", `Host: server\r\n`} {
		d := f.dial(t, "tcp", "-send", `GET /hit/x HTTP/1.0\r\n`+host+`\r\n`, "server:80")
		head, body, _ := strings.Cut(d.Text, "\r\n\r\n")
		if d.Error != "" || !strings.HasPrefix(head, "HTTP/1.") || !strings.Contains(head, " 200 ") || strings.Contains(strings.ToLower(head), "transfer-encoding") {
			t.Errorf("HTTP/1.0 (%q): %q %s", host, d.Text, d.Error)
		} else if got := echoOf(t, body); got.Path != "/hit/x" {
			t.Errorf("HTTP/1.0 (%q): %+v", host, got)
		}
	}
	// The application's own TLS goes through as it is.
	if got := echoOf(t, answered(t, f, "https://server/").Text); got.TLS != "server" {
		t.Errorf("TLS of the application: %+v", got)
	}
	// Paths, hosts and odd headers are the application's.
	got := echoOf(t, answered(t, f, "-host", "shop.example:1234", "http://server/a/b?c=%2F&d").Text)
	if got.Path != "/a/b?c=%2F&d" || got.Host != "shop.example:1234" {
		t.Errorf("a request changed on its way: %+v", got)
	}
	for name := range got.Headers {
		if low := strings.ToLower(name); strings.HasPrefix(low, "x-envoy-") || strings.HasPrefix(low, "x-tulle-") {
			t.Errorf("the application sees the proxies' header %s", name)
		}
	}
}

func speakBodies(t *testing.T, f from) {
	const large = 32 << 20
	for h2, host := range map[string]string{"-h2=false": "server", "-h2=true": "modern"} {
		if d := answered(t, f, h2, "-timeout", "60s", fmt.Sprintf("http://%s/bytes/%d", host, large)); d.Bytes != large {
			t.Errorf("%s: %d of %d bytes came", h2, d.Bytes, large)
		}
		d := answered(t, f, h2, "-timeout", "60s", "-method", "POST", "-body", fmt.Sprint(large), "http://"+host+"/upload")
		if got := echoOf(t, d.Text); got.BodyBytes != large {
			t.Errorf("%s: %d of %d bytes went", h2, got.BodyBytes, large)
		}
		if d := answered(t, f, h2, "http://"+host+"/trailers"); len(d.Trailer["X-Echo-Trailer"]) != 1 {
			t.Errorf("%s: trailers %v", h2, d.Trailer)
		}
	}
	d := answered(t, f, "-method", "POST", "-body", "70000", "-expect", "http://server/upload")
	if got := echoOf(t, d.Text); !d.Continued || got.BodyBytes != 70000 {
		t.Errorf("Expect: 100-continue: continued %v, %d bytes", d.Continued, got.BodyBytes)
	}
	// An application that says no gets no body.
	if d := f.dial(t, "http", "-method", "POST", "-body", "70000", "-expect", "http://server/status/417"); d.Continued || d.Status != 417 {
		t.Errorf("Expect: 100-continue, refused: %d, continued %v, %s", d.Status, d.Continued, d.Error)
	}
}

func speakBytes(t *testing.T, f from) {
	for _, port := range []string{"7000", "7001"} {
		f.echoes(t, "server:"+port, "")
	}
	for _, port := range []string{"3306", "7100", "7200"} {
		if d := f.echoes(t, "server:"+port, "220 server", "-first"); d.First > 3 {
			t.Errorf("the greeting of port %s took %.1f s", port, d.First)
		}
	}
}

// speakSlowly begins exchanges that take longer than Envoy's default of 15 s, and returns what waits
// for their end: neither an answer nor a stream is cut off.
func speakSlowly(t *testing.T, clients map[string]from) (wait func()) {
	type end struct {
		who, url string
		dialed
		err error
	}
	ends := make(chan end)
	urls := []string{"http://server/delay/20s", "http://server/stream?count=2&every=10s"}
	for who, f := range clients {
		for _, url := range urls {
			go func() {
				d, err := f.tryDial(t.Context(), "http", "-timeout", "40s", url)
				ends <- end{who, url, d, err}
			}()
		}
	}
	return func() {
		for range len(clients) * len(urls) {
			e := <-ends
			stream := strings.Contains(e.url, "stream")
			if e.err != nil || e.Error != "" || e.Status != 200 || e.Seconds < 20 || stream && (e.First > 5 || strings.Count(e.Text, "\n") != 2) {
				t.Errorf("%s from %s: %+v, %v", e.url, e.who, e.dialed, e.err)
			}
		}
	}
}

// pastService: a pod's own address, on ports that Services know and on one that they don't.
func pastService(t *testing.T, f from, server *corev1.Pod) {
	ip := server.Status.PodIP
	if d := f.get(t, "http://"+ip+":8080/"); d.Report.Pod != server.Name {
		t.Errorf("%+v", d.Report)
	}
	f.echoes(t, ip+":7000", "")
	if d := f.echoes(t, ip+":3306", "220 server", "-first"); d.First > 3 {
		t.Errorf("the greeting took %.1f s", d.First)
	}
	if d := f.dial(t, "tcp", "-timeout", "5s", "-send", `x`, ip+":7999"); d.Bytes > 0 || d.Seconds > 4 {
		t.Errorf("a port where nobody listens: %q in %.1f s: %s", d.Text, d.Seconds, d.Error)
	}
}

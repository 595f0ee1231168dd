// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "sigs.k8s.io/gateway-api-conformance-images/echo-basic/grpcechoserver"
	"sigs.k8s.io/gateway-api-conformance-images/echo-basic/tcpserver"
	"sigs.k8s.io/gateway-api-conformance-images/echo-basic/udpechoserver"
)

// TestHTTP: the answer says what was asked and who answers, and a uuid fails as often as it asks to.
func TestHTTP(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(newEcho(settings{namespace: "ns", pod: "pod", httpPort: "3000"}).serve))
	defer s.Close()
	get := func(path string) *http.Response {
		t.Helper()
		q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		q.Header["X-Echo-Set-Header"] = []string{"X-A:1,X-A:2"}
		r, err := (&http.Transport{}).RoundTrip(q)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Body.Close() })
		return r
	}
	r := get("/a?b=c")
	var body received
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	if body.Path != "/a?b=c" || body.Pod != "pod" || body.Namespace != "ns" || body.Method != "GET" || r.Header.Get("X-A") != "1,2" {
		t.Errorf("%+v, headers %v", body, r.Header)
	}
	if got := get("/status/418").StatusCode; got != 418 {
		t.Errorf("status %d", got)
	}
	for i, want := range []int{503, 503, 200, 200} {
		if got := get("/retry/x?uuid=1&succeedAfter=2&responseCode=503").StatusCode; got != want {
			t.Errorf("attempt %d: %d, want %d", i+1, got, want)
		}
	}
	if got := get("/retry/x?uuid=1").StatusCode; got != 400 {
		t.Errorf("without succeedAfter: %d", got)
	}
}

// TestGRPC: messages written by hand reach the other side, and a method that is not served says so.
func TestGRPC(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := settings{namespace: "ns", pod: "pod"}.grpcServer(nil)
	go func() { _ = s.Serve(l) }()
	defer s.Stop()
	c, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority("a.example"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	client := pb.NewGrpcEchoClient(c)
	got, err := client.EchoTwo(metadata.AppendToOutgoingContext(t.Context(), "x-a", "1"), &pb.EchoRequest{})
	if err != nil {
		t.Fatal(err)
	}
	a := got.GetAssertions()
	header := ""
	for _, h := range a.GetHeaders() {
		if h.GetKey() == "x-a" {
			header = h.GetValue()
		}
	}
	if a.GetFullyQualifiedMethod() != "/"+pb.ServiceName+"/EchoTwo" || a.GetAuthority() != "a.example" || a.GetContext().GetPod() != "pod" || header != "1" {
		t.Errorf("%v", got)
	}
	if _, err := client.EchoThree(t.Context(), &pb.EchoRequest{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("EchoThree: %v", err)
	}
}

// TestBytes: the servers for TCP and UDP answer in their protocols.
func TestBytes(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { _ = tcpserver.Serve(l, tcpserver.Context{Pod: "pod"}) }()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := fmt.Fprint(c, "PING\nIS_TLS\nTEST\n"); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(c)
	for _, want := range []string{tcpserver.WelcomeMessage, "PONG\n", "false\n", `{"namespace":"","ingress":"","service":"","pod":"pod","tcpport":"","isTLS":false}` + "\n"} {
		if got, err := lines.ReadString('\n'); err != nil || got != want {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
	p, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	go func() { _ = udpechoserver.Serve(p, udpechoserver.Context{Pod: "pod"}) }()
	u, err := new(net.Dialer).DialContext(t.Context(), "udp", p.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if _, err := u.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 1024)
	n, err := u.Read(answer)
	if want := `{"request":"hello","namespace":"","ingress":"","service":"","pod":"pod"}`; err != nil || string(answer[:n]) != want {
		t.Errorf("%q, %v", answer[:n], err)
	}
}

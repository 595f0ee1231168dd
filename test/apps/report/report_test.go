// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package report

import (
	"context"
	"net"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

// TestCallerOf: only the URI of the nearest peer counts, and quoting hides separators.
func TestCallerOf(t *testing.T) {
	const id = "spiffe://cluster.local/ns/shop/sa/web"
	for name, c := range map[string]struct {
		values []string
		want   string
	}{
		"absent":        {nil, ""},
		"empty":         {[]string{""}, ""},
		"one":           {[]string{"By=spiffe://x;Hash=ab;URI=" + id}, id},
		"lower case":    {[]string{"uri=" + id}, id},
		"quoted":        {[]string{`Subject="CN=a;URI=evil,URI=evil";URI="` + id + `"`}, id},
		"escaped quote": {[]string{`Subject="a\";URI=evil";URI=` + id}, id},
		"nearest":       {[]string{"URI=spiffe://far,URI=" + id}, id},
		"two headers":   {[]string{"URI=spiffe://far", "URI=" + id}, id},
		"no URI":        {[]string{"Hash=ab"}, ""},
	} {
		if got := CallerOf(c.values); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// TestBroken: an error anywhere below makes the answer a 502.
func TestBroken(t *testing.T) {
	r := Report{Calls: []Report{{}, {Calls: []Report{{Error: "refused"}}}}}
	w := httptest.NewRecorder()
	Write(w, r)
	if w.Code != 502 {
		t.Errorf("status %d", w.Code)
	}
	back, err := Parse(w.Body.Bytes())
	if err != nil || !cmp.Equal(back, r) {
		t.Errorf("%v %s", err, cmp.Diff(r, back))
	}
	w = httptest.NewRecorder()
	Write(w, Report{Calls: []Report{{}}})
	if w.Code != 200 {
		t.Errorf("status %d", w.Code)
	}
}

// TestGRPC: a report crosses a real gRPC connection, with the caller from the metadata.
func TestGRPC(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer()
	self := Self{Service: "catalog", Version: "v2", Pod: "p"}
	Register(srv, "shop.Catalog", "List", self.GRPC)
	go func() { _ = srv.Serve(lis) }()
	defer srv.Stop()

	conn, err := grpc.NewClient(lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx := metadata.AppendToOutgoingContext(context.Background(), Header, "URI=spiffe://a/ns/b/sa/c")
	got, err := Invoke(ctx, conn, "/shop.Catalog/List")
	if err != nil {
		t.Fatal(err)
	}
	want := Report{Service: "catalog", Version: "v2", Pod: "p", Caller: "spiffe://a/ns/b/sa/c", Protocol: "gRPC"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if _, err := Invoke(ctx, conn, "/shop.Catalog/Nothing"); err == nil {
		t.Error("an unknown method answered")
	}
}

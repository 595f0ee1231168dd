// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"context"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tulle.dev/tulle/test/apps/report"
)

// TestShop plays all four roles in one process and asks the shop window for everything.
func TestShop(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	at := map[string]string{}
	for _, role := range []string{"catalog", "reviews", "cart", "web"} {
		at[role] = freeAddress(t)
	}
	ended := make(chan error, len(at))
	for role, address := range at {
		args := []string{
			role, "-listen", address, "-catalog", at["catalog"],
			"-reviews", "http://" + at["reviews"], "-cart", "http://" + at["cart"],
		}
		go func() { ended <- run(ctx, args) }()
	}
	for _, address := range at {
		awaitTCP(t, address)
	}

	p, err := dial(at["catalog"], "http://"+at["reviews"], "http://"+at["cart"])
	if err != nil {
		t.Fatal(err)
	}
	r := p.get(t.Context(), "web", "http://"+at["web"])
	var seen []string
	r.Walk(func(r report.Report) { seen = append(seen, r.Service+" "+r.Protocol) })
	want := []string{"web HTTP/1.1", "catalog gRPC", "reviews HTTP/1.1", "cart HTTP/1.1", "catalog gRPC"}
	if d := cmp.Diff(want, seen); d != "" || r.Broken() {
		t.Errorf("%s%+v", d, r)
	}

	cancel()
	for range at {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if r := p.get(t.Context(), "web", "http://"+at["web"]); r.Error == "" {
		t.Error("the shop answers after its end")
	}
}

// TestBrokenPeer: the window answers 502 and says which service is missing.
func TestBrokenPeer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	address, nobody := freeAddress(t), freeAddress(t)
	go func() { _ = run(ctx, []string{"cart", "-listen", address, "-catalog", nobody}) }()
	awaitTCP(t, address)
	res, err := http.Get("http://" + address)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusBadGateway {
		t.Errorf("status %d", res.StatusCode)
	}
}

// TestUsage: a wrong role is an error that lists the right ones.
func TestUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"checkout"}, {"web", "-nonsense"}} {
		if err := run(t.Context(), slices.Clone(args)); err == nil {
			t.Errorf("%v was accepted", args)
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	return lis.Addr().String()
}

func awaitTCP(t *testing.T, address string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			return
		}
	}
	t.Fatalf("nobody listens on %s", address)
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"tulle.dev/tulle/test/apps/report"
)

// listMethod is the only method of the catalog.
const (
	catalogService = "shop.Catalog"
	listName       = "List"
	listMethod     = "/" + catalogService + "/" + listName
)

// callTimeout bounds one call to another service.
const callTimeout = 10 * time.Second

// peers are the services that others call. Safe for concurrent use; never changed.
type peers struct {
	catalog          *grpc.ClientConn
	http             *http.Client
	reviews, cartURL string
}

// dial connects lazily: a peer that is not there yet is only missed when it is called.
func dial(catalog, reviews, cart string) (*peers, error) {
	conn, err := grpc.NewClient(catalog, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, fmt.Errorf("dial catalog %s: %w", catalog, err)
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: 30 * time.Second}}
	return &peers{catalog: conn, http: client, reviews: reviews, cartURL: cart}, nil
}

// web asks every other service at once; the order of the answers is fixed.
func (p *peers) web(ctx context.Context) []report.Report {
	calls := make([]report.Report, 3)
	var all sync.WaitGroup
	all.Go(func() { calls[0] = p.list(ctx) })
	all.Go(func() { calls[1] = p.get(ctx, "reviews", p.reviews) })
	all.Go(func() { calls[2] = p.get(ctx, "cart", p.cartURL) })
	all.Wait()
	return calls
}

// cart knows what is in it only from the catalog.
func (p *peers) cart(ctx context.Context) []report.Report {
	return []report.Report{p.list(ctx)}
}

func (p *peers) list(ctx context.Context) report.Report {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	r, err := report.Invoke(ctx, p.catalog, listMethod)
	if err != nil {
		return report.Report{Service: "catalog", Protocol: "gRPC", Error: err.Error()}
	}
	return r
}

func (p *peers) get(ctx context.Context, service, url string) report.Report {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	fail := func(err error) report.Report {
		return report.Report{Service: service, Protocol: "HTTP/1.1", Error: err.Error()}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fail(err)
	}
	res, err := p.http.Do(req)
	if err != nil {
		return fail(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return fail(err)
	}
	if res.StatusCode != http.StatusOK {
		return fail(fmt.Errorf("status %d: %.200s", res.StatusCode, body))
	}
	r, err := report.Parse(body)
	if err != nil {
		return fail(err)
	}
	return r
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"tulle.dev/tulle/test/apps/report"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "shop:", err)
		os.Exit(1)
	}
}

// run plays the role named by the first argument until ctx ends.
func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("usage: shop web|catalog|cart|reviews [flags]")
	}
	role := args[0]
	flags := flag.NewFlagSet("shop "+role, flag.ContinueOnError)
	listen := flags.String("listen", ":8080", "address to serve on")
	catalog := flags.String("catalog", "catalog:9090", "host:port of the catalog (gRPC)")
	reviews := flags.String("reviews", "http://reviews", "URL of the reviews")
	cart := flags.String("cart", "http://cart", "URL of the cart")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	self := report.SelfFromEnv(role)
	switch role {
	case "web":
		peers, err := dial(*catalog, *reviews, *cart)
		if err != nil {
			return err
		}
		return serveHTTP(ctx, *listen, self, peers.web)
	case "cart":
		peers, err := dial(*catalog, *reviews, *cart)
		if err != nil {
			return err
		}
		return serveHTTP(ctx, *listen, self, peers.cart)
	case "reviews":
		return serveHTTP(ctx, *listen, self, func(context.Context) []report.Report { return nil })
	case "catalog":
		return serveGRPC(ctx, *listen, self)
	}
	return fmt.Errorf("role %q is not one of web, catalog, cart, reviews", role)
}

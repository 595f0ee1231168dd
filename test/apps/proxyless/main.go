// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Command proxyless is a program without a proxy for the end-to-end tests: its gRPC library resolves a
// Service through the control plane (GRPC_XDS_BOOTSTRAP names the bootstrap file) and chooses backends
// by itself. It knows nothing of the mesh.
//
//	proxyless wait                                   does nothing: a pod to run the next in
//	proxyless call [-n N] [-for TIME] xds:///TARGET  calls an echo server, and prints what became of it as JSON
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	xdscreds "google.golang.org/grpc/credentials/xds"
	_ "google.golang.org/grpc/xds" // the scheme xds

	"tulle.dev/tulle/test/apps/report"
)

// result is what became of the calls.
type result struct {
	OK int `json:"ok"`
	// Failures are the first of those that failed, Failed how many did.
	Failed   int      `json:"failed"`
	Failures []string `json:"failures,omitempty"`
	// Versions and Callers count what the servers said of themselves and of who called.
	Versions map[string]int `json:"versions,omitempty"`
	Callers  map[string]int `json:"callers,omitempty"`
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "proxyless:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if len(args) == 1 && args[0] == "wait" {
		<-ctx.Done()
		return nil
	}
	flags := flag.NewFlagSet("call", flag.ContinueOnError)
	n := flags.Int("n", 1, "how many calls")
	length := flags.Duration("for", 0, "how long to call, instead of -n")
	plaintext := flags.Bool("plaintext", false, "without the identity of the pod")
	timeout := flags.Duration("timeout", 25*time.Second, "of a call; gRPC takes 15 s to find that there is no such Service")
	if len(args) == 0 || args[0] != "call" {
		return fmt.Errorf("want wait or call, got %q", strings.Join(args, " "))
	}
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	creds := insecure.NewCredentials()
	if !*plaintext {
		var err error
		if creds, err = xdscreds.NewClientCredentials(xdscreds.ClientOptions{FallbackCreds: insecure.NewCredentials()}); err != nil {
			return err
		}
	}
	conn, err := grpc.NewClient(flags.Arg(0), grpc.WithTransportCredentials(creds))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	out := result{Versions: map[string]int{}, Callers: map[string]int{}}
	end := time.Now().Add(*length)
	for i := 0; ctx.Err() == nil && (*length > 0 && time.Now().Before(end) || *length == 0 && i < *n); i++ {
		out.call(ctx, conn, *timeout)
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

func (r *result) call(ctx context.Context, conn *grpc.ClientConn, timeout time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	answer, err := report.Invoke(ctx, conn, "/echo.Echo/Call")
	if err != nil {
		if r.Failed++; len(r.Failures) < 5 {
			r.Failures = append(r.Failures, err.Error())
		}
		return
	}
	r.OK++
	r.Versions[answer.Version]++
	r.Callers[answer.Caller]++
}

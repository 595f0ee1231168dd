// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Tools is two small programs that OLM's pods call and that its modules don't
// hold, by the name it is called by:
//
//	cp -Rv FROM TO           copies one file, for the bundle's unpacking
//	grpc_health_probe -addr=:PORT -rpc-timeout=DURATION
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
)

func main() {
	var err error
	switch filepath.Base(os.Args[0]) {
	case "cp":
		err = cp(os.Args[1:])
	case "grpc_health_probe":
		err = probe(os.Args[1:])
	default:
		err = fmt.Errorf("called as %s: want cp or grpc_health_probe", os.Args[0])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func cp(args []string) error {
	flags := flag.NewFlagSet("cp", flag.ContinueOnError)
	flags.Bool("Rv", false, "as of the real one; there is one file to copy")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 2 {
		return fmt.Errorf("cp: want FROM and TO")
	}
	from, err := os.Open(flags.Arg(0))
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(flags.Arg(1), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(to, from); err != nil {
		to.Close()
		return err
	}
	return to.Close()
}

func probe(args []string) error {
	flags := flag.NewFlagSet("grpc_health_probe", flag.ContinueOnError)
	addr := flags.String("addr", "", "HOST:PORT; no host is this one")
	timeout := flags.Duration("rpc-timeout", time.Second, "how long to wait for an answer")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if strings.HasPrefix(*addr, ":") {
		*addr = "127.0.0.1" + *addr
	}
	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	c, err := grpc.NewClient(*addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer c.Close()
	r, err := grpc_health_v1.NewHealthClient(c).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		return err
	}
	if r.Status != grpc_health_v1.HealthCheckResponse_SERVING {
		return fmt.Errorf("%s", r.Status)
	}
	return nil
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Command tulle-proxy is the data plane's program: the init container and the agent beside Envoy.
package main

import (
	"fmt"
	"os"
)

// version and envoyVersion are stamped at build time (-ldflags "-X main.version=... -X main.envoyVersion=...").
var (
	version      = "dev"
	envoyVersion = "unknown"
)

const usage = `usage: tulle-proxy COMMAND
  init     redirect the pod's traffic to its proxy, then exit
             --exclude-inbound-ports=PORTS   --exclude-outbound-ports=PORTS
             --exclude-outbound-ips=ADDRESSES-OR-NETWORKS   (comma-separated)
  agent    run beside Envoy in the active slot; started by tulle-slot
  admin    GET PATH: ask the admin interface of the active Envoy; it can only read
  client   keep the certificate and the bootstrap file of an application without a proxy, whose
           gRPC library asks the control plane itself
             --dir=DIRECTORY   --check
  version  print the release`

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "tulle-proxy "+os.Args[1]+":", err)
		os.Exit(1)
	}
}

func run(command string, args []string) error {
	switch command {
	case "init":
		return runInit(args)
	case "agent":
		return runAgent()
	case "admin":
		return runAdmin(args)
	case "client":
		return runClient(args)
	case "version":
		fmt.Println(version)
		return nil
	}
	return fmt.Errorf("unknown command\n%s", usage)
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"flag"
	"fmt"
	"os"

	"tulle.dev/tulle/internal/dataplane/redirect"
)

// runInit writes the redirection and prints it.
func runInit(args []string) error {
	f := flag.NewFlagSet("init", flag.ContinueOnError)
	in := f.String("exclude-inbound-ports", "", "comma-separated ports that reach the application without the proxy")
	out := f.String("exclude-outbound-ports", "", "comma-separated destination ports that are left without the proxy")
	ips := f.String("exclude-outbound-ips", "", "comma-separated addresses and networks (CIDR) that are left without the proxy")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	c, err := redirect.Parse(*in, *out, *ips)
	if err != nil {
		return err
	}
	rules := redirect.Rules(c)
	if err := redirect.Apply(rules); err != nil {
		return err
	}
	for _, r := range rules {
		fmt.Fprintf(os.Stdout, "%-60s # %s\n", r, r.Why)
	}
	return nil
}

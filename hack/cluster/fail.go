// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tulle.dev/tulle/hack/cluster/host"
	"tulle.dev/tulle/hack/cluster/node"
)

func failCommand(o *options) *cobra.Command {
	var frozen time.Duration
	c := &cobra.Command{
		Use:   "fail COMPONENT",
		Short: "Kill a component, after leaving it without an answer for a while; it is started again by itself",
		Args:  cobra.ExactArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return componentNames(o), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error {
			l, err := o.live()
			if err != nil {
				return err
			}
			r, _, err := host.ReadRecord(l)
			if err != nil {
				return err
			}
			report, err := node.ReadReport(l.NodeFile())
			if err != nil {
				return err
			}
			i := slices.IndexFunc(report.Components, func(c node.ComponentReport) bool { return c.Name == args[0] })
			if i < 0 {
				return fmt.Errorf("no component %q; the components are: %s", args[0], strings.Join(componentNames(o)[1:], ", "))
			}
			pid := report.Components[i].Pid
			if pid == 0 {
				return fmt.Errorf("%s does not run", args[0])
			}
			if frozen > 0 {
				if err := signalInNode(r.Pid, pid, "STOP"); err != nil {
					return err
				}
				say(fmt.Sprintf("%s answers nobody for %s", args[0], frozen))
				select {
				case <-time.After(frozen):
				case <-c.Context().Done():
				}
			}
			return signalInNode(r.Pid, pid, "KILL")
		},
	}
	c.Flags().DurationVar(&frozen, "after", 0, "how long to leave it without an answer before")
	return c
}

// signalInNode sends a signal to a process that the node knows by this pid.
func signalInNode(first, pid int, name string) error {
	kill := exec.Command("nsenter", "-t", strconv.Itoa(first), "-p", "--", "kill", "-"+name, strconv.Itoa(pid))
	kill.Stderr = os.Stderr
	if err := kill.Run(); err != nil {
		return fmt.Errorf("send %s to process %d of the node: %w", name, pid, err)
	}
	return nil
}

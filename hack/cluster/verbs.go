// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"tulle.dev/tulle/hack/cluster/addon"
	"tulle.dev/tulle/hack/cluster/host"
	"tulle.dev/tulle/hack/cluster/loadbalancer"
	"tulle.dev/tulle/hack/cluster/node"
	"tulle.dev/tulle/hack/cluster/render"
)

func downCommand(o *options) *cobra.Command {
	var keep bool
	c := &cobra.Command{
		Use:   "down",
		Short: "Stop the cluster and remove all of it",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			begin := time.Now()
			l, err := o.layout()
			if err != nil {
				return err
			}
			unlock, err := host.Lock(l, say)
			if err != nil {
				return err
			}
			defer unlock()
			if err := host.Stop(l, keep); err != nil {
				return err
			}
			if !keep {
				if err := os.Remove(l.LockFile()); err != nil && !os.IsNotExist(err) {
					return fmt.Errorf("remove lock: %w", err)
				}
			}
			say(fmt.Sprintf("cluster %s is down after %s", l.Name, time.Since(begin).Round(10*time.Millisecond)))
			return nil
		},
	}
	c.Flags().BoolVar(&keep, "keep", false, "keep its data, so that `up` goes on from it")
	return c
}

func logsCommand(o *options) *cobra.Command {
	lines := 100
	c := &cobra.Command{
		Use:   "logs COMPONENT",
		Short: "Show the end of a component's log",
		Args:  cobra.ExactArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return componentNames(o), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			l, err := o.layout()
			if err != nil {
				return err
			}
			if _, err := os.Stat(l.Log(args[0])); err != nil {
				return fmt.Errorf("no log of %q; the components are: %s", args[0], strings.Join(componentNames(o), ", "))
			}
			fmt.Println(tail(l.Log(args[0]), lines))
			return nil
		},
	}
	c.Flags().IntVarP(&lines, "lines", "n", lines, "how many lines")
	return c
}

func componentNames(o *options) []string {
	l, err := o.layout()
	if err != nil {
		return nil
	}
	names := []string{"node"}
	for _, c := range render.Components(l) {
		names = append(names, c.Name)
	}
	return names
}

func kubectlCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "kubectl ARGUMENT...",
		Short: "Run kubectl on the cluster",
		// Everything after the verb is kubectl's; this program's flags come
		// before it.
		DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			l, err := o.live()
			if err != nil {
				return err
			}
			kk := filepath.Join(l.Bin(), "kk")
			// Of two values of one variable the first counts, and the caller may have another cluster's.
			others := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "KUBECONFIG=") })
			env := append(others, "KUBECONFIG="+l.Kubeconfig())
			return syscall.Exec(kk, append([]string{"kubectl"}, args...), env)
		},
	}
}

func envCommand(o *options) *cobra.Command {
	var pool bool
	c := &cobra.Command{
		Use:   "env",
		Short: "Print shell lines that point kubectl and tests at the cluster",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			l, err := o.layout()
			if err != nil {
				return err
			}
			if pool {
				fmt.Println(l.LoadBalancers())
				return nil
			}
			fmt.Printf("export KUBECONFIG=%s\n", l.Kubeconfig())
			return nil
		},
	}
	c.Flags().BoolVar(&pool, "load-balancers", false, "print the range of load balancers' addresses instead")
	return c
}

func addonCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:       "addon NAME...",
		Short:     "Install cert-manager or gateway-api",
		Args:      cobra.MinimumNArgs(1),
		ValidArgs: []string{"cert-manager", "gateway-api", "dns"},
		RunE: func(c *cobra.Command, args []string) error {
			chosen, err := addons(strings.Join(args, ","))
			if err != nil {
				return err
			}
			l, err := o.live()
			if err != nil {
				return err
			}
			b, err := o.builder()
			if err != nil {
				return err
			}
			for _, a := range chosen {
				if err := addon.Install(c.Context(), target(b, l), a); err != nil {
					return err
				}
				say(a.Name + " works")
			}
			return nil
		},
	}
}

func nodeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "node", Hidden: true, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return node.Run() },
	}
}

func loadbalancerCommand() *cobra.Command {
	var kubeconfig, pool string
	c := &cobra.Command{
		Use: "loadbalancer", Hidden: true, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			p, err := netip.ParsePrefix(pool)
			if err != nil {
				return fmt.Errorf("pool: %w", err)
			}
			ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGTERM)
			defer stop()
			return loadbalancer.Run(ctx, kubeconfig, p)
		},
	}
	c.Flags().StringVar(&kubeconfig, "kubeconfig", "", "the administrator's kubeconfig")
	c.Flags().StringVar(&pool, "pool", "", "range of addresses")
	return c
}

// inNode is a command that runs in the node's network, with the node's PATH.
func inNode(pid int, args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"-t", fmt.Sprint(pid), "-n", "--"}, args...)...)
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Command ads measures what a push costs a control plane, over real gRPC on
// loopback: Tulle's delta ADS server beside go-control-plane's (LinearCache and
// its delta server), in one run, with the same clients, names and resources.
//
// Server and clients are processes of their own, started by this one, so that
// the CPU time of the server is its own. Every client subscribes to the names
// that change and to others at random. CPU time counts user and system.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"text/tabwriter"
	"time"
)

// settings of one run, passed to the children.
type settings struct {
	Impl    string // "tulle" or "go-control-plane"
	Addr    string // of the server; for the clients
	Names   int    // resources that there are
	Each    int    // names that each client subscribes to
	Clients int
	Hot     int // names that every client has and that change
}

// figures of one run.
type figures struct {
	settings
	Pushes     int
	PerPush    time.Duration // CPU of the server
	Connect    time.Duration // CPU of the server per client, all its names included
	P50, P99   time.Duration // from the change to the client
	KiB        float64       // resident memory of the server per client
	HeapKiB    float64
	Resources  int     // resources that came with the pushes; more than Pushes means that too much was sent
	BytesPush  float64 // bytes of a push
	ServerBase float64 // MiB resident before the first client
}

func main() {
	if role := os.Getenv("TULLE_BENCH_ROLE"); role != "" {
		if err := child(role); err != nil {
			fmt.Fprintln(os.Stderr, role+":", err)
			os.Exit(1)
		}
		return
	}
	clients := flag.Int("clients", 500, "simulated proxies")
	names := flag.Int("names", 10_000, "resources")
	changes := flag.Int("changes", 20, "changes to measure, each pushed to all clients")
	target := flag.Float64("target", 5, "least factor by which CPU per push must be smaller at 1,000 names; 0 checks nothing")
	limit := flag.Duration("limit", 170*time.Second, "time for everything")
	jsonOut := flag.String("json", "", "file to write the figures to")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), *limit)
	defer cancel()
	all, err := compare(ctx, *clients, *names, *changes)
	report(all)
	if err == nil && *jsonOut != "" {
		err = write(*jsonOut, all)
	}
	if err == nil {
		err = check(all, *target)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "FAIL:", err)
		os.Exit(1)
	}
}

func compare(ctx context.Context, clients, names, changes int) ([]figures, error) {
	var all []figures
	for _, each := range []int{50, 1000} {
		for _, impl := range []string{"tulle", "go-control-plane"} {
			fmt.Fprintf(os.Stderr, "%s, %d names each ...\n", impl, each)
			f, err := run(ctx, settings{Impl: impl, Names: names, Each: each, Clients: clients, Hot: 10}, changes)
			if err != nil {
				return all, fmt.Errorf("%s with %d names each: %w", impl, each, err)
			}
			all = append(all, f)
		}
	}
	return all, nil
}

func run(ctx context.Context, s settings, changes int) (figures, error) {
	server, err := start(ctx, "server", s)
	if err != nil {
		return figures{}, err
	}
	defer server.stop()
	var up serverUp
	if err := server.read(&up); err != nil {
		return figures{}, err
	}
	s.Addr = up.Addr
	load, err := start(ctx, "clients", s)
	if err != nil {
		return figures{}, err
	}
	defer load.stop()
	var first arrived
	if err := load.read(&first); err != nil {
		return figures{}, err
	}
	var connected, before, after usage
	if err := server.ask("usage", &connected); err != nil {
		return figures{}, err
	}
	var done arrived
	for i := range changes + 2 {
		if i == 2 { // after two to warm
			if err := server.ask("cpu", &before); err != nil {
				return figures{}, err
			}
		}
		var c changed
		if err := server.ask("change", &c); err != nil {
			return figures{}, err
		}
		if err := load.ask(fmt.Sprint("await ", c.Stamp, " ", i >= 2), &done); err != nil {
			return figures{}, err
		}
	}
	if err := server.ask("cpu", &after); err != nil {
		return figures{}, err
	}
	n := float64(s.Clients)
	return figures{
		settings: s, Pushes: done.Pushes, PerPush: (after.CPU - before.CPU) / time.Duration(done.Pushes),
		Connect: (connected.CPU - up.CPU) / time.Duration(s.Clients), P50: done.P50, P99: done.P99,
		KiB: float64(connected.RSS-up.RSS) / n / 1024, HeapKiB: float64(connected.Heap-up.Heap) / n / 1024,
		Resources: done.Resources, BytesPush: float64(done.Bytes) / float64(done.Pushes), ServerBase: float64(up.RSS) / (1 << 20),
	}, nil
}

func report(all []figures) {
	if len(all) == 0 {
		return
	}
	fmt.Printf("%d clients, %d names in all; one resource changes and every client gets it\n", all[0].Clients, all[0].Names)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "server\tnames each\tCPU/push\tp50\tp99\tKiB RSS/client\tKiB heap/client\tCPU/connect\tpushes\tresources\tbytes/push\t")
	for _, f := range all {
		fmt.Fprintf(w, "%s\t%d\t%v\t%v\t%v\t%.0f\t%.0f\t%v\t%d\t%d\t%.0f\t\n", f.Impl, f.Each, f.PerPush.Round(100*time.Nanosecond),
			f.P50.Round(100*time.Microsecond), f.P99.Round(100*time.Microsecond), f.KiB, f.HeapKiB, f.Connect.Round(time.Microsecond), f.Pushes, f.Resources, f.BytesPush)
	}
	_ = w.Flush()
}

// check compares at the larger number of names.
func check(all []figures, target float64) error {
	cpu := map[string]time.Duration{}
	for _, f := range all {
		if f.Each == 1000 {
			cpu[f.Impl] = f.PerPush
		}
		if f.Resources != f.Pushes {
			return fmt.Errorf("%s sent %d resources in %d pushes of one", f.Impl, f.Resources, f.Pushes)
		}
	}
	if cpu["tulle"] <= 0 || cpu["go-control-plane"] <= 0 {
		return errors.New("nothing was measured at 1,000 names")
	}
	ratio := float64(cpu["go-control-plane"]) / float64(cpu["tulle"])
	fmt.Printf("at 1,000 names a push takes %.1f times less CPU than go-control-plane's\n", ratio)
	if ratio < target {
		return fmt.Errorf("target: at least %.1f times", target)
	}
	return nil
}

func write(name string, all []figures) error {
	b, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(name, append(b, '\n'), 0o644); err != nil { //nolint:gosec // figures are for everybody
		return fmt.Errorf("write the figures: %w", err)
	}
	return nil
}

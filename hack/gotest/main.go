// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Command gotest runs "go test" for one stage of `make test`: it shows one
// line per package while they run, the whole output of what failed, and how
// many tests there were. It fails when a test failed, when one was skipped,
// or when fewer ran than the stage must have: a stage that quietly tests
// nothing is worse than none.
//
//	gotest -name unit -min 300 -log out [-C DIR] [-each] -- GO-TEST-ARGUMENTS
//
// The full log is in out/NAME.log.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// event is a line of "go test -json" (see "go doc test2json").
type event struct {
	Action, Package, Test, Output string
	ImportPath                    string // of build output
	Elapsed                       float64
}

func main() {
	name := flag.String("name", "tests", "name of the stage")
	least := flag.Int("min", 1, "how many tests must run at least")
	logs := flag.String("log", "out", "folder of the full log")
	dir := flag.String("C", ".", "folder to run go test in")
	each := flag.Bool("each", false, "tell of each subtest of a test as it ends, too")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *name, *least, *logs, *dir, *each, flag.Args(), os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", *name, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, name string, least int, logs, dir string, each bool, args []string, out io.Writer) error {
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return fmt.Errorf("make the folder of logs: %w", err)
	}
	log, err := os.Create(filepath.Join(logs, name+".log"))
	if err != nil {
		return fmt.Errorf("make the log: %w", err)
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-json"}, args...)...)
	cmd.Dir = dir
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	cmd.Stderr = io.MultiWriter(os.Stderr, log)
	events, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("run go test: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("run go test: %w", err)
	}
	t := newTally(out, log)
	t.each = each
	t.read(events)
	return t.verdict(cmd.Wait(), least, log.Name())
}

// tally follows the events of a run.
type tally struct {
	out, log io.Writer
	each     bool // tell of subtests as they end

	passed, failed, skipped int
	perPackage              map[string]int
	outputs                 map[string][]string // by package and test: kept until it passed
	skips, fails            []string
}

func newTally(out, log io.Writer) *tally {
	return &tally{out: out, log: log, perPackage: map[string]int{}, outputs: map[string][]string{}}
}

func (t *tally) read(events io.Reader) {
	lines := bufio.NewScanner(events)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			fmt.Fprintln(t.out, lines.Text()) // not an event: something go itself says
			continue
		}
		t.add(e)
	}
}

func (t *tally) add(e event) {
	pkg := e.Package
	if pkg == "" {
		pkg = e.ImportPath
	}
	key := pkg + " " + e.Test
	switch e.Action {
	case "output", "build-output":
		fmt.Fprint(t.log, e.Output)
		t.outputs[key] = append(t.outputs[key], e.Output)
	case "build-fail":
		t.tell(key, "does not build: "+pkg)
	case "pass", "fail", "skip":
		t.end(e, key)
	}
}

// end counts what a test or a package came to.
func (t *tally) end(e event, key string) {
	if e.Test == "" {
		t.endPackage(e, key)
		return
	}
	if t.each && e.Action != "fail" && strings.Count(e.Test, "/") == 1 {
		fmt.Fprintf(t.out, "%-4s %s %.1f s\n", e.Action, e.Test, e.Elapsed)
	}
	switch e.Action {
	case "pass":
		t.passed++
		t.perPackage[e.Package]++
		delete(t.outputs, key)
	case "skip":
		t.skipped++
		t.skips = append(t.skips, e.Package+" "+e.Test)
	case "fail":
		t.failed++
		t.fails = append(t.fails, e.Package+" "+e.Test)
		t.tell(key, "FAIL "+e.Package+" "+e.Test)
	}
}

func (t *tally) endPackage(e event, key string) {
	n := t.perPackage[e.Package]
	switch {
	case e.Action == "fail":
		t.tell(key, fmt.Sprintf("FAIL %s (%.1f s)", e.Package, e.Elapsed))
	case n > 0:
		fmt.Fprintf(t.out, "ok   %s: %d tests, %.1f s\n", e.Package, n, e.Elapsed)
	}
	delete(t.outputs, key)
}

// said is a line by which a test itself says what is wrong, rather than what it runs.
var said = regexp.MustCompile(`^\s+\w+_test\.go:\d+: `)

// much is more lines than people see at once: what a product logs may fill screens.
const much = 20

// tell prints a heading and what was written under key, and forgets it. Of much, what the test says is told
// beforehand, too: it is what people look for.
func (t *tally) tell(key, heading string) {
	fmt.Fprintln(t.out, heading)
	lines := t.outputs[key]
	delete(t.outputs, key)
	if len(lines) > much {
		for _, line := range lines {
			if said.MatchString(line) {
				fmt.Fprint(t.out, "    ", line)
			}
		}
		fmt.Fprintf(t.out, "    ... and all %d lines:\n", len(lines))
	}
	for _, line := range lines {
		fmt.Fprint(t.out, "    ", line)
	}
}

// verdict is nil when go test was content, nothing was skipped and enough ran.
func (t *tally) verdict(goTest error, least int, log string) error {
	fmt.Fprintf(t.out, "%d tests passed, %d failed, %d skipped\n", t.passed, t.failed, t.skipped)
	var wrong []error
	if goTest != nil {
		wrong = append(wrong, fmt.Errorf("go test: %w (all of it is in %s)", goTest, log))
		for _, f := range t.fails {
			wrong = append(wrong, fmt.Errorf("failed: %s", f))
		}
	}
	if t.skipped > 0 {
		wrong = append(wrong, fmt.Errorf("no test may be skipped, these were: %s", strings.Join(t.skips, ", ")))
	}
	if ran := t.passed + t.failed; ran < least {
		wrong = append(wrong, fmt.Errorf("%d tests ran, at least %d must", ran, least))
	}
	return errors.Join(wrong...)
}

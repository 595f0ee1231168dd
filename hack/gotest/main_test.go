// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

const recorded = `{"Action":"start","Package":"a"}
{"Action":"output","Package":"a","Test":"TestX","Output":"x is wrong\n"}
{"Action":"RESULT","Package":"a","Test":"TestX"}
{"Action":"pass","Package":"a","Test":"TestY"}
{"Action":"pass","Package":"a","Test":"TestY/one"}
RESULT2
{"Action":"output","Package":"a","Output":"coverage\n"}
{"Action":"RESULT","Package":"a","Elapsed":1.5}
`

func tallied(result, extra string) (*tally, *bytes.Buffer) {
	var out bytes.Buffer
	t := newTally(&out, &bytes.Buffer{})
	text := strings.ReplaceAll(recorded, "RESULT2\n", extra)
	t.read(strings.NewReader(strings.ReplaceAll(text, "RESULT", result)))
	return t, &out
}

// TestVerdict: only a run in which enough passed and nothing else happened is good.
func TestVerdict(t *testing.T) {
	run, out := tallied("pass", "")
	if err := run.verdict(nil, 3, "log"); err != nil || !strings.Contains(out.String(), "ok   a: 3 tests") || strings.Contains(out.String(), "x is wrong") {
		t.Error(err, out)
	}
	if err := run.verdict(nil, 4, "log"); err == nil {
		t.Error("too few tests were enough")
	}
	if err := run.verdict(errors.New("exit status 1"), 3, "log"); err == nil {
		t.Error("a failure of go test was overlooked")
	}
	run, out = tallied("fail", "")
	if err := run.verdict(errors.New("exit status 1"), 3, "log"); err == nil || !strings.Contains(out.String(), "FAIL a TestX\n    x is wrong") {
		t.Error(err, out)
	}
	run, _ = tallied("pass", `{"Action":"skip","Package":"a","Test":"TestZ"}`+"\n")
	if err := run.verdict(nil, 3, "log"); err == nil || !strings.Contains(err.Error(), "a TestZ") {
		t.Error("a skipped test was overlooked")
	}
	_, out = tallied("pass", "go: downloading\n"+`{"Action":"build-output","ImportPath":"b","Output":"syntax error\n"}`+"\n"+`{"Action":"build-fail","ImportPath":"b"}`+"\n")
	if !strings.Contains(out.String(), "go: downloading") || !strings.Contains(out.String(), "does not build: b\n    syntax error") {
		t.Error(out)
	}
}

// TestLongOutput: what a test says stands before what the product logs, and nothing is left out: a panic
// and a data race are told before their stacks.
func TestLongOutput(t *testing.T) {
	line := func(text string) string {
		return `{"Action":"output","Package":"a","Test":"TestX","Output":"` + text + `\n"}` + "\n"
	}
	log := line("panic: first") + strings.Repeat(line("noise"), much) + line("    x_test.go:7: is wrong") + line("last")
	_, out := tallied("fail", log+`{"Action":"fail","Package":"a","Test":"TestX"}`+"\n")
	if !strings.Contains(out.String(), "FAIL a TestX\n        x_test.go:7: is wrong\n    ... and all 23 lines:\n    panic: first\n    noise\n") ||
		!strings.Contains(out.String(), "    last\n") || strings.Count(out.String(), "noise") != much {
		t.Error(out)
	}
}

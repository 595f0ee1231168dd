// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cli

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/cli/check"
	"tulle.dev/tulle/internal/cli/dump"
	"tulle.dev/tulle/internal/printable"
)

// forged is what a pod may report: an escape sequence that clears the screen, one that sets the clipboard, a C1
// character, text from right to left, and lines that look like those of a command.
const forged = "bad\x1b[2J\x1b]52;c;ZXZpbA==\a\u009b1A\u202eko\n  [ok] forged\r  [ok] forged\u2028  [ok] forged"

// TestForgedWords: what the cluster reports neither controls the terminal nor begins a line.
func TestForgedWords(t *testing.T) {
	quoted, err := json.Marshal(forged)
	if err != nil {
		t.Fatal(err)
	}
	text := string(quoted)
	nack := `"rejected": 1, "nacks": [{"type": "x.Cluster", "name": ` + text + `, "message": ` + text + `}]`
	rejecting := api(t, "mesh", `"rejected": 0`, nack)
	notReady := api(t, "mesh", `"message": "new pods that ask for a proxy get one"`, `"message": `+text,
		`"reason": "Injecting",`+"\n"+`      "status": "True"`, `"reason": "Injecting", "status": "False"`,
		`"reason": "Ready",`+"\n"+`      "status": "True"`, `"reason": "NotReady", "status": "False"`)
	u := upgradeIn(v1alpha1.PhaseDataPlane)
	u.Message, u.Difference = forged, forged
	u.Gates = []v1alpha1.GateResult{{Wave: 1, Result: v1alpha1.GatePassed, Message: forged}}
	// A program that decodes JSON prints what was escaped in it.
	_, out, errs := call(t, "", "check", "-o", "json", "--kubeconfig", notReady)
	var findings []check.Finding
	if err := json.Unmarshal([]byte(out), &findings); err != nil {
		t.Fatal(err, errs)
	}
	for _, f := range findings {
		if printable.Line(f.Message) != f.Message || printable.Line(f.Fix) != f.Fix {
			t.Errorf("%q, %q", f.Message, f.Fix)
		}
	}
	upgrading := (&oneMesh{mesh: meshOf("0.3.0", "0.3.0", false, u)}).start(t)
	for _, c := range []struct{ config, command string }{
		{rejecting, "check"},
		{rejecting, "status"},
		{rejecting, "check -o json"},
		{rejecting, "status -o json"},
		{notReady, "check"},
		{notReady, "status"},
		{upgrading, "upgrade status"},
		{upgrading, "upgrade status -o json"},
	} {
		_, out, errs := call(t, "", append(strings.Fields(c.command), "--kubeconfig", c.config)...)
		if !strings.Contains(out, "[ok] forged") {
			t.Errorf("%s does not show it:\n%s%s", c.command, out, errs)
		}
		refuseForged(t, c.command, out+errs)
	}
}

func refuseForged(t *testing.T, what, out string) {
	t.Helper()
	for line := range strings.Lines(out) {
		if strings.HasPrefix(strings.TrimSpace(line), "[ok] forged") {
			t.Errorf("%s: a pod begins a line:\n%q", what, out)
		}
		if strings.ContainsFunc(strings.TrimSuffix(line, "\n"), func(r rune) bool {
			return r != '\t' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
		}) {
			t.Errorf("%s controls the terminal: %q", what, line)
		}
	}
}

// TestForgedConfig: the same of what a program in the place of a proxy answers.
func TestForgedConfig(t *testing.T) {
	quoted, err := json.Marshal(forged)
	if err != nil {
		t.Fatal(err)
	}
	text := string(quoted)
	config, err := dump.Parse([]byte(`{"configs": [{"@type": "x.ListenersConfigDump", "dynamic_listeners": [{"name": ` + text + `, "error_state": {"details": ` + text + `},
		"active_state": {"version_info": ` + text + `, "listener": {"name": ` + text + `}}}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := printable.NewWriter(&out)
	if err := printConfig(w, config, "all"); err != nil || strings.Count(out.String(), "forged") < 6 {
		t.Errorf("%v\n%s", err, out.String())
	}
	refuseForged(t, "proxy config", out.String())
}

// TestForgedError: a further line of an error is indented.
func TestForgedError(t *testing.T) {
	_, out, errs := call(t, "", "proxy", "config", "a", "x\n[ok] forged\x1b[2J", "--kubeconfig", "none")
	_, _, unknown := call(t, "", "chekc\n[ok] forged\x1b[2J")
	for _, said := range []string{out + errs, unknown} {
		if strings.Contains(said, "\n[ok]") || strings.Contains(said, "\x1b") || !strings.Contains(said, "forged") {
			t.Errorf("%q", said)
		}
	}
}

// TestDocuments: what programs read back stays as it is, unless it goes to a terminal.
func TestDocuments(t *testing.T) {
	config := api(t, "mesh")
	in := strings.ReplaceAll("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: \"\u202e\"}\n", "\n", "\r\n")
	if code, out, errs := call(t, in, "inject", "-f", "-", "--kubeconfig", config); code != exitOK || out != in {
		t.Errorf("exit %d: %q\n%s", code, out, errs)
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if _, out, _ := call(t, "", "completion", shell); strings.Contains(out, "�") {
			t.Errorf("%s: the script is changed", shell)
		}
	}
	clean := printable.NewWriter(&bytes.Buffer{})
	device, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0) // a character device, as a terminal
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if documents(device, clean) != clean || documents(file, clean) != file {
		t.Error("a terminal is taken for a file, or a file for a terminal")
	}
}

// TestPrintf: everything with values is printed by printf, which keeps each value on its line, or by the writers that
// do so themselves.
func TestPrintf(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") || name == "output.go" {
			continue
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			f, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			of, ok := f.X.(*ast.Ident)
			if !ok || of.Name != "fmt" || !strings.HasPrefix(f.Sel.Name, "Fprint") && !strings.HasPrefix(f.Sel.Name, "Print") {
				return true
			}
			for _, arg := range call.Args[min(1, len(call.Args)):] {
				if _, literal := arg.(*ast.BasicLit); !literal && !strings.Contains(name, "main.go") {
					if s, ok := arg.(*ast.SelectorExpr); ok && s.Sel.Name == "Diff" {
						continue // lines of JSON, in which texts have no line breaks
					}
					if s, ok := arg.(*ast.Ident); ok && s.Name == "section" {
						continue // a constant
					}
					t.Errorf("%s: use printf", set.Position(call.Pos()))
				}
			}
			return true
		})
	}
}

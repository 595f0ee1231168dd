// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Vulncheck runs govulncheck, which is pinned in hack/tools, over the main
// module: it fails if the product calls code with a known vulnerability.
//
// The database is GOVULNDB (https://vuln.go.dev if empty), which may be a
// folder: file:///path. With -optional the public database is not asked. If
// the database cannot be read, nothing is checked. That is an
// error, or, with -optional, a line that begins with "not checked:", which
// `make test` repeats below the list of its stages.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"tulle.dev/tulle/hack/internal/parts"
)

const publicDatabase = "https://vuln.go.dev"

func main() {
	optional := flag.Bool("optional", false, "report a database that cannot be read, and succeed")
	flag.Parse()
	ctx := context.Background()
	repo, err := parts.FindRepo()
	if *optional && os.Getenv("GOVULNDB") == "" {
		// make test asks no server for anything but modules.
		fmt.Println("not checked: known vulnerabilities: GOVULNDB is not set; make vulncheck asks the public database")
		return
	}
	if err == nil {
		err = check(ctx, database(os.Getenv("GOVULNDB")), *optional, os.Stdout, func(db string) error { return govulncheck(ctx, repo, db) })
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "vulncheck:", err)
		os.Exit(1)
	}
}

func database(env string) string {
	if env == "" {
		return publicDatabase
	}
	return strings.TrimSuffix(env, "/")
}

// check runs the check if there is a database. It returns nil only if the
// check found nothing, or if it is optional and there is no database; that is
// then written to out.
func check(ctx context.Context, db string, optional bool, out io.Writer, run func(db string) error) error {
	modified, err := probe(ctx, db)
	if err != nil {
		line := fmt.Sprintf("not checked: known vulnerabilities: the database %s cannot be read: %v; set GOVULNDB to one that can, for example file:///path", db, err)
		if optional {
			fmt.Fprintln(out, line)
			return nil
		}
		return errors.New(line)
	}
	fmt.Fprintf(out, "database %s, last changed %s\n", db, modified.Format(time.RFC3339))
	if err := run(db); err != nil {
		return err
	}
	fmt.Fprintln(out, "the product calls no code with a known vulnerability")
	return nil
}

// probe returns when the database last changed, by its index; see
// https://go.dev/doc/security/vuln/database.
func probe(ctx context.Context, db string) (time.Time, error) {
	text, err := readIndex(ctx, db)
	if err != nil {
		return time.Time{}, err
	}
	var index struct{ Modified time.Time }
	if err := json.Unmarshal(text, &index); err != nil || index.Modified.IsZero() {
		return time.Time{}, fmt.Errorf("index/db.json is not the index of a vulnerability database")
	}
	return index.Modified, nil
}

func readIndex(ctx context.Context, db string) ([]byte, error) {
	u, err := url.Parse(db)
	if err != nil {
		return nil, err
	}
	if u.Scheme == "file" {
		return os.ReadFile(filepath.Join(u.Path, "index", "db.json"))
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, db+"/index/db.json", nil)
	if err != nil {
		return nil, err
	}
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server answers %s", r.Status)
	}
	return io.ReadAll(io.LimitReader(r.Body, 1<<20))
}

// govulncheck runs the tool. It ends with status 3 if it finds something.
func govulncheck(ctx context.Context, repo, db string) error {
	cmd := exec.CommandContext(ctx, "go", "tool", "-modfile="+filepath.Join(repo, "hack", "tools", "go.mod"), "govulncheck", "-db", db, "./...")
	cmd.Dir = repo
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == 3 {
		return errors.New("the product calls code with the known vulnerabilities above; require fixed versions in go.mod, or build with a fixed Go release")
	}
	if err != nil {
		return fmt.Errorf("run govulncheck: %w", err)
	}
	return nil
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package parts

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Debian is a requirement on the machine, named by the Debian package that
// fulfils it. It is met when Program is on PATH, or File exists.
type Debian struct {
	Package string
	Program string
	File    string
}

// RunTime lists what a running cluster needs from the machine: kube-proxy and
// the portmap plugin run `nft`, the kubelet runs `mount`.
func RunTime() []Debian {
	return []Debian{
		{Package: "nftables", Program: "nft"},
		{Package: "mount", Program: "mount"},
	}
}

// Missing returns those of need that the machine lacks, each package once.
func Missing(need []Debian) []string {
	var missing []string
	seen := map[string]bool{}
	for _, d := range need {
		if seen[d.Package] || met(d) {
			continue
		}
		seen[d.Package] = true
		missing = append(missing, d.Package)
	}
	return missing
}

func met(d Debian) bool {
	if d.File != "" {
		_, err := os.Stat(d.File)
		return err == nil
	}
	if _, err := exec.LookPath(d.Program); err == nil {
		return true
	}
	// Root's tools are often missing from a user's PATH.
	for _, dir := range []string{"/usr/sbin/", "/sbin/"} {
		if _, err := os.Stat(dir + d.Program); err == nil {
			return true
		}
	}
	return false
}

// Install sees to it that the machine has what is needed: as root on Debian
// with apt-get, and with a line that says so; anywhere else it only returns an
// error that names the packages.
func Install(ctx context.Context, need []Debian, say func(string)) error {
	missing := Missing(need)
	if len(missing) == 0 {
		return nil
	}
	names := strings.Join(missing, " ")
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("this machine lacks: %s (names of Debian packages; install what provides them here)", names)
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("this machine lacks: %s; run as root: apt-get install %s", names, names)
	}
	say("installing Debian packages: " + names)
	if out, err := apt(ctx, append([]string{"install"}, missing...)...); err != nil {
		// The lists may be missing or old, as in a fresh container.
		if _, err := apt(ctx, "update"); err != nil {
			return fmt.Errorf("apt-get update: %w\n%s", err, lastLines(out, 10))
		}
		if out, err = apt(ctx, append([]string{"install"}, missing...)...); err != nil {
			return fmt.Errorf("apt-get install %s: %w\n%s", names, err, lastLines(out, 10))
		}
	}
	if still := Missing(need); len(still) > 0 {
		return fmt.Errorf("apt-get install %s ended well, but %s cannot be found", names, strings.Join(still, " "))
	}
	return nil
}

func apt(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-y", "-qq", "--no-install-recommends"}, args...)...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

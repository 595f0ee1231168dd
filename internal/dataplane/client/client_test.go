// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package client

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tulle.dev/tulle/internal/dataplane/identity"
	"tulle.dev/tulle/internal/names"
)

// TestFromEnv: what is missing is named, and the rest has defaults.
func TestFromEnv(t *testing.T) {
	env := map[string]string{"TULLE_POD": "batch-0", "TULLE_POD_UID": "u"}
	get := func(k string) string { return env[k] }
	if _, err := FromEnv(get, "/d"); err == nil || !strings.Contains(err.Error(), "TULLE_NAMESPACE is not set") {
		t.Errorf("got %v", err)
	}
	env["TULLE_NAMESPACE"] = "shop"
	s, err := FromEnv(get, "/d")
	if err != nil || s.ADS != "tulle-controlplane.tulle-system.svc:15010" || s.Sign != "tulle-controlplane.tulle-system.svc:15012" {
		t.Errorf("%+v, %v", s, err)
	}
	env["TULLE_CONTROL_PLANE"] = "cp.mesh.svc"
	if s, err = FromEnv(get, "/d"); err != nil || s.Host != "cp.mesh.svc" || s.ADS != "cp.mesh.svc:15010" {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestBootstrap: the file says where the control plane is, by which files it is spoken to, and the same
// files under the name that the control plane's clusters use.
func TestBootstrap(t *testing.T) {
	b, err := Settings{Pod: "p", PodUID: "u", Namespace: "n", ADS: "cp:15010", Dir: "/d"}.Bootstrap()
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Servers []struct {
			URI   string `json:"server_uri"`
			Creds []struct {
				Type   string
				Config map[string]string
			} `json:"channel_creds"`
		} `json:"xds_servers"`
		Node      struct{ ID string }
		Providers map[string]struct {
			Plugin string `json:"plugin_name"`
			Config map[string]string
		} `json:"certificate_providers"`
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	p := got.Providers["default"]
	if len(got.Servers) != 1 || got.Servers[0].URI != "cp:15010" || got.Servers[0].Creds[0].Type != "tls" || got.Node.ID != "client.n.p.u" || p.Plugin != "file_watcher" {
		t.Errorf("%s", b)
	}
	for _, files := range []map[string]string{p.Config, got.Servers[0].Creds[0].Config} {
		if files["certificate_file"] != "/d/current/tls.crt" || files["private_key_file"] != "/d/current/tls.key" || files["ca_certificate_file"] != "/d/current/ca.crt" {
			t.Errorf("files %v", files)
		}
	}
}

// TestWriter: certificate, key and roots are replaced together, when one of them has changed, and what
// was before is taken away, also if this is another run of the container.
func TestWriter(t *testing.T) {
	dir, trust := t.TempDir(), filepath.Join(t.TempDir(), "ca.crt")
	put := func(roots string) {
		t.Helper()
		if err := os.WriteFile(trust, []byte(roots), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w := &writer{dir: dir}
	if Ready(dir) == nil {
		t.Error("ready with nothing written")
	}
	one, two := &identity.Certificate{Chain: []byte("c1"), Key: []byte("k1")}, &identity.Certificate{Chain: []byte("c2"), Key: []byte("k2")}
	if err := w.write(one, trust); err == nil {
		t.Error("written without roots")
	}
	check := func(what string, c *identity.Certificate, roots string, same bool) {
		t.Helper()
		link := filepath.Join(dir, current)
		before, _ := os.Readlink(link)
		put(roots)
		if err := w.write(c, trust); err != nil {
			t.Fatal(err)
		}
		after, err := os.Readlink(link)
		if err != nil || (after == before) != same {
			t.Errorf("%s: the link was %q and is %q, %v", what, before, after, err)
		}
		for file, want := range map[string]string{certificateFile: string(c.Chain), keyFile: string(c.Key), rootsFile: roots} {
			if b, err := os.ReadFile(filepath.Join(link, file)); err != nil || string(b) != want {
				t.Errorf("%s: %s is %q, %v; want %q", what, file, b, err, want)
			}
		}
		if all, err := os.ReadDir(dir); err != nil || len(all) != 2 {
			t.Errorf("%s: %d entries, %v; want the link and what it leads to", what, len(all), err)
		}
	}
	check("first", one, "r1", false)
	check("nothing new", one, "r1", true)
	check("new roots", one, "r2", false)
	own := filepath.Join(filepath.Dir(trust), names.IntermediatesKey)
	if err := os.WriteFile(own, []byte("i1"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.write(one, trust); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, current, rootsFile)); err != nil || string(got) != "i1" {
		t.Errorf("with the mesh's intermediates beside the roots, programs trust %q, %v", got, err)
	}
	if err := os.Remove(own); err != nil {
		t.Fatal(err)
	}
	check("a new certificate", two, "r2", false)
	if err := os.Symlink("nowhere", filepath.Join(dir, current+".new")); err != nil { // it ended in the middle
		t.Fatal(err)
	}
	w = &writer{dir: dir}
	check("another run", one, "r2", false)
	if err := os.WriteFile(filepath.Join(dir, BootstrapFile), nil, 0o600); err != nil || Ready(dir) != nil {
		t.Errorf("not ready with all written: %v, %v", Ready(dir), err)
	}
}

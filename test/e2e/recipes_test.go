// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tulle.dev/tulle/internal/testing/cluster"
)

// recipe is a section of docs/guides/recipes.md.
type recipe struct {
	heading string
	text    string // all of it
	yaml    string // its YAML blocks
}

// proof shows that a recipe does what its text says.
type proof struct {
	heading string
	prove   func(*testing.T, shop, recipe)
}

// TestRecipes: every recipe of the guide, taken from the guide itself, does what the guide says of it. A
// recipe without a proof fails, and so does a proof without a recipe.
func TestRecipes(t *testing.T) {
	t.Parallel()
	// The recipes of a group change the same route, one after the other; groups go side by side.
	groups := [][]proof{
		{{"Canary", canary}, {"A/B test", abTest}, {"Mirror", mirror}, {"Blue and green", blueAndGreen}},
		{{"HTTPS at the edge", httpsAtTheEdge}},
		{{"TLS passed through", tlsPassedThrough}},
		{{"gRPC", grpcByMethod}},
		{{"TCP", tcpByWeight}},
		{{"TLS to somewhere outside", tlsOutside}},
	}
	guide, err := os.ReadFile("../../docs/guides/recipes.md")
	if err != nil {
		t.Fatal(err)
	}
	recipes := readRecipes(string(guide))
	for _, r := range recipes {
		if !slices.ContainsFunc(slices.Concat(groups...), func(p proof) bool { return p.heading == r.heading }) {
			t.Errorf("recipe %q has no proof", r.heading)
		}
	}
	find := func(heading string) recipe {
		i := slices.IndexFunc(recipes, func(r recipe) bool { return r.heading == heading })
		if i < 0 {
			t.Errorf("the guide has no recipe %q", heading)
			return recipe{}
		}
		return recipes[i]
	}
	for _, p := range slices.Concat(groups...) {
		find(p.heading)
	}
	if t.Failed() {
		return
	}
	s := openShop(t, string(guide))
	t.Run("of", func(t *testing.T) {
		for _, group := range groups {
			t.Run(group[0].heading, func(t *testing.T) {
				t.Parallel()
				for _, p := range group {
					t.Run(p.heading, func(t *testing.T) { p.prove(t, s, find(p.heading)) })
				}
			})
		}
	})
	unfailed(t, map[string]*cluster.Run{"reviews": s.reviews})
}

// readRecipes reads the sections of the guide that have YAML.
func readRecipes(guide string) []recipe {
	block := regexp.MustCompile("(?s)```yaml\n(.*?)```")
	var out []recipe
	for _, section := range strings.Split(guide, "\n## ")[1:] {
		heading, text, _ := strings.Cut(section, "\n")
		r := recipe{heading: heading, text: text}
		for _, b := range block.FindAllStringSubmatch(text, -1) {
			r.yaml += "---\n" + b[1]
		}
		if r.yaml != "" {
			out = append(out, r)
		}
	}
	return out
}

// shop is the namespace that the recipes assume. Its pods play several parts each.
type shop struct {
	c  *cluster.Cluster
	ns string
	// frontend calls the others.
	frontend from
	// authority issued the certificates of the edge and of those that speak TLS themselves.
	authority authority
	// outside is the address of somebody who is not in the mesh.
	outside string
	// reviews is a load on Service reviews that no request of may fail, whatever is done to its route.
	reviews *cluster.Run
	// guide is all of its text.
	guide string
}

// shopServices are those that the recipes name. Those of ledger let it be known in each of the ways that
// the guide names that they speak HTTP/2.
const shopServices = `
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: %[1]s}
spec: {selector: {app: app}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: reviews-v1, namespace: %[1]s}
spec: {selector: {app: app, version: v1}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: reviews-v2, namespace: %[1]s}
spec: {selector: {app: app, version: v2}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: ledger, namespace: %[1]s}
spec: {selector: {ledger: v1}, ports: [{name: calls, port: 9090}]}
---
apiVersion: v1
kind: Service
metadata: {name: ledger-v1, namespace: %[1]s}
spec: {selector: {ledger: v1}, ports: [{name: calls, port: 9090, appProtocol: kubernetes.io/h2c}]}
---
apiVersion: v1
kind: Service
metadata: {name: ledger-v2, namespace: %[1]s}
spec: {selector: {app: app, version: v2}, ports: [{name: grpc, port: 9090}]}
---
apiVersion: v1
kind: Service
metadata: {name: postgres, namespace: %[1]s}
spec: {selector: {app: app, version: v1}, ports: [{name: postgres, port: 5432}]}
---
apiVersion: v1
kind: Service
metadata: {name: postgres-next, namespace: %[1]s}
spec: {selector: {app: app, version: v2}, ports: [{name: postgres, port: 5432}]}
---
apiVersion: v1
kind: Service
metadata: {name: vault, namespace: %[1]s}
spec: {selector: {app: vault}, ports: [{name: https, port: 443}]}
`

// ownTLS is a pod that ends TLS itself, with or without a proxy.
const ownTLS = `
---
apiVersion: v1
kind: Pod
metadata: {name: %[2]s, namespace: %[1]s, labels: {app: %[2]s, tulle.dev/inject: %[3]s}}
spec:
  securityContext: {sysctls: [{name: net.ipv4.ip_unprivileged_port_start, value: "0"}]}
  containers:
  - name: app
    image: tulle.local/echo:%[4]s
    imagePullPolicy: IfNotPresent
    args: [-name, %[2]s, -https, ":443", -certificate, /certificate]
    readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
    volumeMounts: [{name: certificate, mountPath: /certificate}]
  volumes: [{name: certificate, secret: {secretName: %[2]s-tls}}]
`

// openShop deploys all that the recipes assume.
func openShop(t *testing.T, guide string) shop {
	t.Helper()
	s := shop{c: cluster.Connect(t), authority: newAuthority(t), guide: guide}
	s.ns = s.c.Namespace(t, "recipes", meshed)
	docs := fmt.Sprintf(shopServices, s.ns)
	for name, host := range map[string]string{"shop": "shop.example.com", "vault": "vault.example.com", "outside": "payments.example.com"} {
		docs += secret(s.ns, name+"-tls", s.authority.issue(t, host, day))
	}
	for name, inject := range map[string]string{"vault": "enabled", "outside": "disabled"} {
		docs += fmt.Sprintf(ownTLS, s.ns, name, inject, cluster.Tag())
	}
	s.c.MustApply(t, docs)
	args := []string{"-banner", ":5432"}
	s.c.Deploy(t, s.ns, cluster.Echo{Name: "app", Args: args, NoService: true, Labels: []string{"ledger: v1"}})
	s.c.Deploy(t, s.ns, cluster.Echo{Name: "app", Version: "v2", Args: args, NoService: true})
	s.c.Deploy(t, s.ns, cluster.Echo{Name: "frontend", Labels: []string{"ledger: v1"}})
	s.c.Ready(t, s.ns, "app", "app-v2", "frontend")
	s.frontend = podOf(t, s.c, s.ns, "frontend")
	readyPod(t, s.c, s.ns, "vault")
	s.outside = readyPod(t, s.c, s.ns, "outside").Status.PodIP
	s.reviews = s.c.Load(t, s.ns, true, "-url", "http://reviews/", "-method", "POST", "-rate", "60", "-duration", "30m", "-every", "200ms")
	s.reviews.Sent(t, 10)
	return s
}

// apply applies a recipe as it stands in the guide, but in the test's namespace and with changes, each a
// text and what is to stand in its place, and waits until all of it is in effect.
func (s shop) apply(t *testing.T, r recipe, changes ...string) {
	t.Helper()
	for _, o := range s.begin(t, r, changes...) {
		inEffect(t, s.c, o)
	}
}

// begin is apply that does not wait.
func (s shop) begin(t *testing.T, r recipe, changes ...string) []*unstructured.Unstructured {
	t.Helper()
	docs := r.yaml
	for i, change := range append([]string{"namespace: shop", "namespace: " + s.ns}, changes...) {
		if i%2 == 0 && !strings.Contains(docs, change) {
			t.Fatalf("recipe %q has no %q any more", r.heading, change)
		}
	}
	docs = strings.NewReplacer(append([]string{"namespace: shop", "namespace: " + s.ns}, changes...)...).Replace(docs)
	if err := s.c.TryApply(t.Context(), docs); err != nil {
		t.Fatal(err)
	}
	objects, err := cluster.Objects(docs)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

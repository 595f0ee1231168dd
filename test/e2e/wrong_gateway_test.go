// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tulle.dev/tulle/internal/controlplane/status"
	"tulle.dev/tulle/internal/testing/cluster"
	"tulle.dev/tulle/test/load"
)

// edge is a Gateway with a route that works, on it and in the mesh, beside which everything else goes wrong.
const edge = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: %[1]s}
spec:
  gatewayClassName: tulle
  allowedListeners: {namespaces: {from: Same}}
  listeners:
  - {name: http, port: 80, protocol: HTTP}
%[2]s
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: steady, namespace: %[1]s}
spec:
  parentRefs: [{name: edge, sectionName: http}, {group: "", kind: Service, name: server, port: 80}]
  hostnames: [steady.example]
  rules: [{backendRefs: [{name: server, port: 80}]}]
`

// complaint is what an object says about what is wrong with it.
type complaint struct {
	object    string // KIND/NAME
	where     string // see told.all
	condition string
	status    metav1.ConditionStatus
	reason    string
	says      []string // words of the message: where it is, and what to do
}

// TestWrongGateways: everything that is wrong with routes, listeners, certificates and policies is told
// by the object that is wrong, with the field, and none of it costs anybody else a request.
func TestWrongGateways(t *testing.T) {
	t.Parallel()
	w := openEdge(t)
	t.Run("told", func(t *testing.T) { w.told(t) })
	t.Run("answered", func(t *testing.T) { w.answered(t) })
	t.Run("refused at once", func(t *testing.T) { w.refused(t) })
	t.Run("values that are only odd", func(t *testing.T) { w.odd(t) })
	t.Run("certificates", func(t *testing.T) { w.certificates(t) })
	t.Run("a port that goes", func(t *testing.T) { portGoes(t, w) })
	t.Run("a backend that flaps", func(t *testing.T) { flaps(t, w) })
	for name, b := range map[string]*background{"kept": w.kept, "fresh": w.fresh} {
		s := b.end()
		t.Logf("on %s connections: %d sent, slowest %.0f ms", name, s.Sent, s.Max)
		noFailure(t, s, 100)
	}
	unfailed(t, map[string]*cluster.Run{"in the mesh": w.inside})
}

// wrongs is the world of TestWrongGateways.
type wrongs struct {
	c         *cluster.Cluster
	ns, far   string // far is a namespace of somebody else
	addr      string // of Gateway edge
	authority authority
	// Loads on what is right: from outside on kept connections and on new ones, and from inside the mesh.
	kept, fresh *background
	inside      *cluster.Run
}

// openEdge deploys what is right, begins the loads, and then applies all that is wrong at once.
func openEdge(t *testing.T) wrongs {
	t.Helper()
	w := wrongs{c: cluster.Connect(t), authority: newAuthority(t)}
	w.ns = w.c.Namespace(t, "wrongs", meshed)
	w.far = w.c.Namespace(t, "far")
	w.c.Deploy(t, w.ns, cluster.Echo{
		Name: "server", Args: []string{"-tcp", ":7000"},
		Ports: "[{name: http, port: 80, targetPort: 8080}, {name: echo, port: 7000, appProtocol: tcp}]",
	})
	w.c.Deploy(t, w.ns, cluster.Echo{Name: "server", Version: "v2", NoService: true})
	w.c.MustApply(t, edge, w.ns, "")
	w.c.Ready(t, w.ns, "server", "server-v2")
	w.addr = gatewayAddress(t, w.c, w.ns, "edge")
	w.c.RouteCondition(t, w.ns, "steady", status.ConditionProgrammed, metav1.ConditionTrue)
	answering(t, "http://"+w.addr+"/")
	w.inside = w.c.Load(t, w.ns, true, "-url", "http://server/", "-method", "POST", "-rate", "30", "-duration", "10m")
	w.kept = loadBeside(t, load.Options{URL: "http://" + w.addr + "/", Host: "steady.example", Rate: 30, Workers: 4})
	w.fresh = loadBeside(t, load.Options{URL: "http://" + w.addr + "/", Host: "steady.example", Rate: 30, Workers: 4, NewConnections: true})
	w.inside.Sent(t, 10)

	docs := secret(w.ns, "good", w.authority.issue(t, "*.example", day)) + w.badSecrets(t)
	docs += fmt.Sprintf("---"+edge+wrongSets+wrongPolicies, w.ns, wrongListeners, w.far)
	for _, r := range wrongRoutes() {
		docs += r.yaml(w.ns)
	}
	w.c.MustApply(t, docs)
	return w
}

// told checks each complaint.
func (w wrongs) told(t *testing.T) {
	all := append(listenerComplaints(), otherComplaints()...)
	all = append(all, complaint{"ListenerSet/" + w.far + "/stranger", "", "Accepted", metav1.ConditionFalse, "NotAllowed", []string{"see its spec.allowedListeners"}})
	for _, r := range wrongRoutes() {
		r.object = r.kindOr() + "/" + r.name
		all = append(all, r.complaint)
	}
	for _, k := range all {
		t.Run(strings.TrimSpace(k.object+" "+k.where+" "+k.reason), func(t *testing.T) { w.hear(t, k) })
	}
}

// hear waits until an object makes a complaint.
func (w wrongs) hear(t *testing.T, k complaint) {
	t.Helper()
	kind, name, _ := strings.Cut(k.object, "/")
	o := &unstructured.Unstructured{}
	o.SetAPIVersion("gateway.networking.k8s.io/v1")
	o.SetKind(kind)
	ns, name, other := strings.Cut(name, "/")
	if !other {
		ns, name = w.ns, ns
	}
	o.SetNamespace(ns)
	o.SetName(name)
	cluster.Eventually(t, 30*time.Second, fmt.Sprintf("%s %s: %s=%s, %s, %q", k.object, k.where, k.condition, k.status, k.reason, k.says), func() error {
		s, err := statusOf(t, w.c, o)
		if err != nil {
			return err
		}
		got := apimeta.FindStatusCondition(s.all()[k.where], k.condition)
		if got == nil || got.Status != k.status || got.Reason != k.reason || got.ObservedGeneration != s.Metadata.Generation {
			return fmt.Errorf("generation %d, %+v", s.Metadata.Generation, s.all()[k.where])
		}
		for _, word := range k.says {
			if !strings.Contains(got.Message, word) {
				return fmt.Errorf("the message lacks %q: %s", word, got.Message)
			}
		}
		return nil
	})
}

// badSecrets have certificates that nobody can use, or should.
func (w wrongs) badSecrets(t *testing.T) string {
	t.Helper()
	one, other := w.authority.issue(t, "unlike.example", day), w.authority.issue(t, "unlike.example", day)
	return secret(w.ns, "malformed", leaf{"no certificate", one.key}) +
		secret(w.ns, "unlike", leaf{one.cert, other.key}) +
		secret(w.ns, "weak", weak(t)) +
		secret(w.ns, "expired", w.authority.issue(t, "expired.example", -time.Hour))
}

// ask is a request for a host on the Gateway's plain port.
func (w wrongs) ask(t *testing.T, host, path string, header http.Header) (code int, took time.Duration, err error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+w.addr+path, nil)
	if err != nil {
		return 0, 0, err
	}
	req.Host = host
	req.Header = header
	began := time.Now()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, 0, err
	}
	res.Body.Close()
	return res.StatusCode, time.Since(began), nil
}

// wants waits for an answer of that status; who is new to the proxies is so for a moment only.
func (w wrongs) wants(t *testing.T, host, path string, header http.Header, want int) {
	t.Helper()
	cluster.Eventually(t, 20*time.Second, fmt.Sprintf("%s%s is answered with %d", host, path, want), func() error {
		for range 3 { // there are two proxies
			code, _, err := w.ask(t, host, path, header)
			if err == nil && code != want {
				err = fmt.Errorf("%d", code)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// answered: a route that is not accepted takes no request; a reference that leads nowhere costs its share.
func (w wrongs) answered(t *testing.T) {
	for _, r := range wrongRoutes() {
		if r.answer != 0 {
			w.wants(t, r.host(), "/", nil, r.answer)
		}
	}
	w.wants(t, "partly.example", "/good", nil, http.StatusOK)
	w.wants(t, "partly.example", "/bad", nil, http.StatusInternalServerError)
}

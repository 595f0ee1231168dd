// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cli

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/api/v1alpha1"
)

// oneMesh plays an API server that has a Mesh, or none, and further paths with their answers.
type oneMesh struct {
	mu      sync.Mutex
	mesh    *v1alpha1.Mesh // guarded by mu, as all below
	then    []v1alpha1.UpgradeStatus
	paths   map[string]string
	refuses string
	patches []string
}

func (o *oneMesh) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	fail := func(code int, reason, message string) {
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(metav1.Status{
			TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Reason: metav1.StatusReason(reason), Code: int32(code), Message: message,
		})
	}
	path := r.URL.Path
	q := r.URL.Query()
	q.Del("timeout") // of the client
	if strings.Contains(path, "/proxy/") && len(q) > 0 {
		path += "?" + q.Encode()
	}
	switch {
	case path == "/apis/tulle.dev/v1alpha1/meshes":
		list := v1alpha1.MeshList{TypeMeta: metav1.TypeMeta{Kind: "MeshList", APIVersion: "tulle.dev/v1alpha1"}, Items: []v1alpha1.Mesh{}}
		if o.mesh != nil {
			list.Items = append(list.Items, *o.mesh)
			if len(o.then) > 0 { // the operator goes on
				o.mesh = o.mesh.DeepCopy()
				o.mesh.Status.Upgrade, o.then = &o.then[0], o.then[1:]
			}
		}
		_ = json.NewEncoder(w).Encode(list)
	case r.Method == http.MethodPatch && path == "/apis/tulle.dev/v1alpha1/meshes/tulle":
		body, _ := io.ReadAll(r.Body)
		switch {
		case !strings.Contains(string(body), `"resourceVersion":"7"`) || o.refuses == "conflict":
			fail(http.StatusConflict, "Conflict", "the object has been modified")
		case o.refuses != "":
			fail(http.StatusUnprocessableEntity, "Invalid", o.refuses)
		default:
			o.patches = append(o.patches, string(body))
			_ = json.NewEncoder(w).Encode(o.mesh)
		}
	case o.paths[path] == "hidden":
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, "this resource holds a private key: it is not shown\n")
	case o.paths[path] != "":
		_, _ = io.WriteString(w, o.paths[path])
	default:
		fail(http.StatusNotFound, "NotFound", path+" is not there")
	}
}

func (o *oneMesh) start(t *testing.T) (kubeconfig string) {
	t.Helper()
	srv := httptest.NewServer(o)
	t.Cleanup(srv.Close)
	kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	text := `{"apiVersion":"v1","kind":"Config","current-context":"a","clusters":[{"name":"a","cluster":{"server":"` + srv.URL + `"}}],
		"contexts":[{"name":"a","context":{"cluster":"a","user":"a"}}],"users":[{"name":"a","user":{}}]}`
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return kubeconfig
}

func meshOf(wanted, serving string, paused bool, u *v1alpha1.UpgradeStatus) *v1alpha1.Mesh {
	return &v1alpha1.Mesh{
		TypeMeta:   metav1.TypeMeta{Kind: "Mesh", APIVersion: "tulle.dev/v1alpha1"},
		ObjectMeta: metav1.ObjectMeta{Name: "tulle", ResourceVersion: "7"},
		Spec:       v1alpha1.MeshSpec{Version: wanted, Upgrade: v1alpha1.Upgrade{Paused: paused}},
		Status:     v1alpha1.MeshStatus{Version: serving, Revision: strings.ReplaceAll(serving, ".", "-"), Upgrade: u},
	}
}

func upgradeIn(phase v1alpha1.UpgradePhase) *v1alpha1.UpgradeStatus {
	at := metav1.NewTime(time.Now().Add(-5 * time.Minute))
	u := &v1alpha1.UpgradeStatus{From: "0.2.0", To: "0.3.0", Phase: phase, Since: at, Started: at}
	if phase == v1alpha1.PhaseCompleted || phase == v1alpha1.PhaseRolledBack {
		end := metav1.NewTime(at.Add(90 * time.Second))
		u.Finished = &end
	}
	return u
}

// TestUpgradeStatus: what is shown of each state, and the exit code.
func TestUpgradeStatus(t *testing.T) {
	waves := upgradeIn(v1alpha1.PhaseDataPlane)
	waves.Wave, waves.Waves, waves.Replaced, waves.Proxies = 2, 4, 5, 20
	waves.Message, waves.Difference = "waits for 3 proxies", "nothing changes; nothing new is rejected"
	waves.Gates = []v1alpha1.GateResult{{Wave: 1, Result: v1alpha1.GatePassed, Message: "0 of 120 requests failed"}}
	back := upgradeIn(v1alpha1.PhaseRolledBack)
	back.Message = "wave 1 failed its gates"
	for name, c := range map[string]struct {
		mesh *v1alpha1.Mesh
		code int
		says []string
	}{
		"none":             {nil, exitError, []string{"there is no Mesh"}},
		"never changed":    {meshOf("0.2.0", "0.2.0", false, nil), exitOK, []string{"runs 0.2.0; its release was never changed"}},
		"not begun":        {meshOf("0.3.0", "0.2.0", false, nil), exitOK, []string{"is to run 0.3.0 and runs 0.2.0; the operator has not begun"}},
		"in waves":         {meshOf("0.3.0", "0.3.0", false, waves), exitOK, []string{"tulle  0.2.0  0.3.0  DataPlane  5m", "2/4", "5 of 20", "waits for 3 proxies", "Difference: nothing changes", "1     Passed  0 of 120 requests failed"}},
		"paused":           {meshOf("0.3.0", "0.3.0", true, upgradeIn(v1alpha1.PhaseDataPlane)), exitOK, []string{"Paused: tulle upgrade resume"}},
		"completed":        {meshOf("0.3.0", "0.3.0", false, upgradeIn(v1alpha1.PhaseCompleted)), exitOK, []string{"Completed", "It took 90s."}},
		"completed, next":  {meshOf("0.4.0", "0.3.0", false, upgradeIn(v1alpha1.PhaseCompleted)), exitOK, []string{"is to run 0.4.0 now; the operator has not begun"}},
		"rolling back":     {meshOf("0.3.0", "0.2.0", false, upgradeIn(v1alpha1.PhaseRollingBack)), exitFound, []string{"RollingBack"}},
		"rolled back":      {meshOf("0.3.0", "0.2.0", false, back), exitFound, []string{"RolledBack", "wave 1 failed its gates"}},
		"rolled back, new": {meshOf("0.4.0", "0.2.0", false, back), exitOK, []string{"is to run 0.4.0 now"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := &oneMesh{mesh: c.mesh}
			code, out, errs := call(t, "", "upgrade", "status", "--kubeconfig", o.start(t))
			for _, want := range c.says {
				if !strings.Contains(out+errs, want) {
					t.Errorf("no %q in\n%s%s", want, out, errs)
				}
			}
			if code != c.code {
				t.Errorf("exit %d\n%s%s", code, out, errs)
			}
		})
	}
}

// TestUpgradeWatch: each change is shown once, until the end, which gives the exit code.
func TestUpgradeWatch(t *testing.T) {
	o := &oneMesh{mesh: meshOf("0.3.0", "0.2.0", false, upgradeIn(v1alpha1.PhaseDataPlane))}
	same := *upgradeIn(v1alpha1.PhaseRollingBack)
	o.then = []v1alpha1.UpgradeStatus{same, same, *upgradeIn(v1alpha1.PhaseRolledBack)}
	code, out, errs := call(t, "", "upgrade", "status", "--watch", "-o", "json", "--kubeconfig", o.start(t))
	if code != exitFound {
		t.Errorf("exit %d: %s", code, errs)
	}
	var phases []string
	for d := json.NewDecoder(strings.NewReader(out)); ; {
		var v upgradeView
		if err := d.Decode(&v); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		phases = append(phases, string(v.Upgrade.Phase))
	}
	if got := strings.Join(phases, " "); got != "DataPlane RollingBack RolledBack" {
		t.Error(got)
	}
}

// TestUpgradeChange: what each command writes to the spec, or why it does not.
func TestUpgradeChange(t *testing.T) {
	for name, c := range map[string]struct {
		args    string
		mesh    *v1alpha1.Mesh
		refuses string
		code    int
		says    string
		patch   string // of the spec; empty: none
	}{
		"to the next":         {"to 0.3.0", meshOf("0.2.0", "0.2.0", false, nil), "", exitOK, "is to run 0.3.0 now, instead of 0.2.0", `{"version":"0.3.0"}`},
		"to the one before":   {"to 0.2.0", meshOf("0.3.0", "0.3.0", false, nil), "", exitOK, "is to run 0.2.0 now", `{"version":"0.2.0"}`},
		"while paused":        {"to 0.3.0", meshOf("0.2.0", "0.2.0", true, nil), "", exitOK, "tulle upgrade resume", `{"version":"0.3.0"}`},
		"to the same":         {"to 0.3.0", meshOf("0.3.0", "0.2.0", false, nil), "", exitOK, "already", ""},
		"to an unknown":       {"to 0.9.0", meshOf("0.2.0", "0.2.0", false, nil), "", exitError, "not known to this command, which knows 0.2.0", ""},
		"two steps":           {"to 0.4.0 --force", meshOf("0.2.0", "0.2.0", false, nil), "", exitError, "0.2", ""},
		"to one it may know":  {"to 0.4.0 --force", meshOf("0.3.0", "0.3.0", false, nil), "", exitOK, "is to run 0.4.0 now", `{"version":"0.4.0"}`},
		"refused":             {"to 0.3.0", meshOf("0.2.0", "0.2.0", false, nil), "spec.version: not that way", exitError, "not that way", ""},
		"changed meanwhile":   {"to 0.3.0", meshOf("0.2.0", "0.2.0", false, nil), "conflict", exitError, "somebody else has just changed it", ""},
		"to nothing":          {"to", meshOf("0.2.0", "0.2.0", false, nil), "", exitError, "accepts 1 arg", ""},
		"without a Mesh":      {"pause", nil, "", exitError, "there is no Mesh", ""},
		"pause":               {"pause", meshOf("0.3.0", "0.2.0", false, upgradeIn(v1alpha1.PhaseDataPlane)), "", exitOK, "are paused now.\n", `{"upgrade":{"paused":true}}`},
		"pause nothing":       {"pause", meshOf("0.3.0", "0.3.0", false, nil), "", exitOK, "None is under way", `{"upgrade":{"paused":true}}`},
		"pause again":         {"pause", meshOf("0.3.0", "0.3.0", true, nil), "", exitOK, "already", ""},
		"resume":              {"resume", meshOf("0.3.0", "0.3.0", true, upgradeIn(v1alpha1.PhaseDataPlane)), "", exitOK, "not paused now", `{"upgrade":{"paused":false}}`},
		"resume again":        {"resume", meshOf("0.3.0", "0.3.0", false, nil), "", exitOK, "already", ""},
		"rollback":            {"rollback", meshOf("0.3.0", "0.3.0", false, upgradeIn(v1alpha1.PhaseDataPlane)), "", exitOK, "goes back from 0.3.0 to 0.2.0", `{"version":"0.2.0"}`},
		"rollback at the end": {"rollback", meshOf("0.3.0", "0.3.0", false, upgradeIn(v1alpha1.PhaseCompleted)), "", exitOK, "goes back", `{"version":"0.2.0"}`},
		"after a rollback":    {"rollback", meshOf("0.3.0", "0.2.0", false, upgradeIn(v1alpha1.PhaseRolledBack)), "", exitOK, "by itself", `{"version":"0.2.0"}`},
		"rollback of nothing": {"rollback", meshOf("0.3.0", "0.3.0", false, nil), "", exitError, "nothing to roll back", ""},
		"rollback twice":      {"rollback", meshOf("0.2.0", "0.3.0", false, upgradeIn(v1alpha1.PhaseDataPlane)), "", exitError, "nothing to roll back", ""},
		"rollback of another": {"rollback", meshOf("0.4.0", "0.3.0", false, upgradeIn(v1alpha1.PhaseCompleted)), "", exitError, "has not begun", ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := &oneMesh{mesh: c.mesh, refuses: c.refuses}
			code, out, errs := call(t, "", append(append([]string{"upgrade"}, strings.Fields(c.args)...), "--kubeconfig", o.start(t))...)
			if code != c.code || !strings.Contains(out+errs, c.says) {
				t.Errorf("exit %d: %s%s", code, out, errs)
			}
			want := ""
			if c.patch != "" {
				want = `{"metadata":{"resourceVersion":"7"},"spec":` + c.patch + `}`
			}
			if got := strings.Join(o.patches, "\n"); got != want {
				t.Errorf("wrote %s, want %s", got, want)
			}
		})
	}
}

// TestUpgradeCompletion offers the releases that are known.
func TestUpgradeCompletion(t *testing.T) {
	if _, out, _ := call(t, "", "__complete", "upgrade", "to", ""); !strings.Contains(out, "0.2.0\n0.3.0\n") {
		t.Error(out)
	}
}

const (
	podList = `{"kind":"PodList","apiVersion":"v1","items":[` +
		`{"metadata":{"name":"old","creationTimestamp":"2026-01-01T00:00:00Z","labels":{"tulle.dev/revision":"0-2-0"}},"status":{"conditions":[{"type":"Ready","status":"True"}]}},` +
		`{"metadata":{"name":"new","creationTimestamp":"2026-01-02T00:00:00Z","labels":{"tulle.dev/revision":"0-3-0"}},"status":{"conditions":[{"type":"Ready","status":"True"}]}},` +
		`{"metadata":{"name":"ill","creationTimestamp":"2026-01-03T00:00:00Z","labels":{"tulle.dev/revision":"0-3-0"}},"status":{"conditions":[{"type":"Ready","status":"False"}]}}]}`
	pods     = "/api/v1/namespaces/tulle-system/pods"
	oldSays  = pods + "/http:old:15014/proxy/debug/translation"
	newSays  = pods + "/http:new:15014/proxy/debug/translation"
	resource = "?name=out%2Fshop%2Fweb%2F80&type=x.Cluster"
	key      = "?name=tls%2Fa%2Fb%2Fc%2Fd&type=x.Secret"
	oldWorld = `{"version":"0.2.0","synced":true,"resources":{"x.Cluster":{"out/shop/web/80":"1","out/shop/api/80":"1"},"x.Secret":{"tls/a/b/c/d":"1"}},"rejected":[]}`
	newWorld = `{"version":"0.3.0","synced":true,"resources":{"x.Cluster":{"out/shop/web/80":"2","out/shop/api/80":"1"},"x.Secret":{"tls/a/b/c/d":"2"}},
		"rejected":[{"kind":"HTTPRoute","namespace":"shop","name":"web","where":"Service web","condition":"Accepted","reason":"UnsupportedValue","message":"no such filter"}]}`
)

// TestUpgradeDiff: the table, the rejected objects and each resource's lines; keys stay hidden.
func TestUpgradeDiff(t *testing.T) {
	world := map[string]string{
		pods: podList, oldSays: oldWorld, newSays: newWorld,
		oldSays + resource: "{\n  \"name\": \"a\",\n  \"ttl\": \"5s\"\n}\n", newSays + resource: "{\n  \"name\": \"a\",\n  \"ttl\": \"60s\"\n}\n",
		oldSays + key: "hidden", newSays + key: "hidden",
	}
	with := func(more ...string) map[string]string {
		out := map[string]string{}
		for k, v := range world {
			out[k] = v
		}
		for i := 0; i < len(more); i += 2 {
			out[more[i]] = more[i+1]
		}
		return out
	}
	for name, c := range map[string]struct {
		args  string
		paths map[string]string
		code  int
		says  []string
		not   string
	}{
		"summary": {"", world, exitFound, []string{
			"KIND ", "0.2.0  0.3.0  CHANGED  ADDED  REMOVED", "clusters ", "0.3.0 rejects, and 0.2.0 does not:\n  HTTPRoute shop/web, Service web: Accepted (UnsupportedValue): no such filter",
			"From 0.2.0 to 0.3.0: 1 of 2 clusters changes", "1 object is newly rejected: HTTPRoute shop/web",
		}, "ttl"},
		"full": {"--full", world, exitFound, []string{
			"--- 0.2.0 out/shop/web/80\n+++ 0.3.0 out/shop/web/80\n@@ -1,4 +1,4 @@\n {\n   \"name\": \"a\",\n-  \"ttl\": \"5s\"\n+  \"ttl\": \"60s\"\n }\n",
			"(not shown: it holds a private key)",
		}, ""},
		"of some":        {"--full --name web", world, exitFound, []string{"+++ 0.3.0 out/shop/web/80"}, "private key"},
		"JSON":           {"--full -o json", world, exitFound, []string{`"newlyRejected": [`, `"summary": "1 of 2`, `"note": "not shown`, `+  \"ttl\": \"60s\"\n`}, "From 0.2.0"},
		"nothing":        {"", with(newSays, strings.Replace(oldWorld, "0.2.0", "0.3.0", 1)), exitOK, []string{"nothing changes; nothing new is rejected"}, ""},
		"only one runs":  {"", with(pods, strings.ReplaceAll(podList, "0-3-0", "0-2-0")), exitError, []string{"only the control plane of revision 0-2-0 runs"}, ""},
		"none serves":    {"", with(pods, strings.ReplaceAll(podList, "0-2-0", "0-3-0")), exitError, []string{"no replica of the control plane that serves"}, ""},
		"an older one":   {"", with(oldSays, ""), exitError, []string{"ask old for its translation: it is of a release that does not tell"}, ""},
		"not synced yet": {"", with(newSays, strings.Replace(newWorld, "true", "false", 1)), exitError, []string{"new for its translation: it has not read the whole cluster"}, ""},
		"garbage":        {"", with(newSays, "<html>"), exitError, []string{"read the translation of new"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := &oneMesh{mesh: meshOf("0.3.0", "0.2.0", false, upgradeIn(v1alpha1.PhaseShadow)), paths: c.paths}
			code, out, errs := call(t, "", append(append([]string{"upgrade", "diff"}, strings.Fields(c.args)...), "--kubeconfig", o.start(t))...)
			for _, want := range c.says {
				if !strings.Contains(out+errs, want) {
					t.Errorf("no %q in\n%s%s", want, out, errs)
				}
			}
			if code != c.code || c.not != "" && strings.Contains(out, c.not) {
				t.Errorf("exit %d\n%s%s", code, out, errs)
			}
		})
	}
}

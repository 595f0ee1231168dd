// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package apply

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/internal/lifecycle/missing"
	"tulle.dev/tulle/internal/lifecycle/plan"
	"tulle.dev/tulle/internal/lifecycle/upgrade"
)

// stubborn is an API server that refuses changes of some objects.
type stubborn struct {
	client.Client
	refuses map[string]error
	did     []string
}

func (s *stubborn) do(o client.Object) error {
	if err := s.refuses[o.GetName()]; err != nil {
		return err
	}
	s.did = append(s.did, o.GetName())
	return nil
}

func (s *stubborn) Patch(_ context.Context, o client.Object, _ client.Patch, _ ...client.PatchOption) error {
	return s.do(o)
}

func (s *stubborn) Delete(_ context.Context, o client.Object, _ ...client.DeleteOption) error {
	return s.do(o)
}

// TestStepsContinue: a pod that can't be changed or evicted ends no step, and an object that can't be deleted ends the
// steps after its own.
func TestStepsContinue(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	defer server.Close()
	core, err := corev1client.NewForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	s := &stubborn{refuses: map[string]error{
		"refused": apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "refused", nil),
		"a/b":     errors.New("invalid resource name"),
		"stays":   errors.New("no"),
	}}
	move := func(name string) upgrade.Move { return upgrade.Move{Name: name, Version: "0.3.0"} }
	steps := []plan.Step{
		{Name: "proxies", Moves: []upgrade.Move{move("refused"), {Restart: upgrade.Restart{Kind: "Deployment", Name: "a/b"}}, move("moved")}},
		{Name: "pods without a proxy", Evict: []missing.Pod{{Namespace: "shop", Name: "kept"}}},
		{Name: "prune", Delete: []plan.Ref{ref("old")}},
		{Name: "webhook", Delete: []plan.Ref{ref("stays"), ref("other")}},
		{Name: "never", Delete: []plan.Ref{ref("late")}},
	}
	pods, err := New(s, core.RESTClient(), s, s).Steps(t.Context(), steps)
	if want := []string{"moved", "old", "other"}; !slices.Equal(s.did, want) {
		t.Errorf("changed: %v, want %v", s.did, want)
	}
	if err == nil || !strings.Contains(err.Error(), `step "webhook": delete`) {
		t.Errorf("the error is %v", err)
	}
	for _, words := range []string{`step "proxies": patch the proxy of Pod /refused`, "restart Deployment /a/b", `step "pods without a proxy": evict Pod shop/kept`} {
		if pods == nil || !strings.Contains(pods.Error(), words) {
			t.Errorf("%q is not in %v", words, pods)
		}
	}
	if !Refused(pods) || Refused(err) {
		t.Errorf("refused: %v, %v", Refused(pods), Refused(err))
	}
}

func ref(name string) plan.Ref {
	var r plan.Ref
	r.GroupVersionKind = schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}
	r.Name = name
	return r
}

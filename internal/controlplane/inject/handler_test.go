// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package inject

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"tulle.dev/tulle/internal/names"
)

func handler(t testing.TB, change func(*HandlerOptions)) *Handler {
	t.Helper()
	o := HandlerOptions{
		Settings: func() (Settings, bool) { return testSettings(), true },
		Namespace: func(_ context.Context, _ netip.Addr, name string) (NamespaceFacts, error) {
			return NamespaceFacts{Name: name, Labels: map[string]string{names.LabelInject: names.InjectEnabled}}, nil
		},
		Log: logr.Discard(), Metrics: prometheus.NewRegistry(),
	}
	if change != nil {
		change(&o)
	}
	h, err := NewHandler(o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func request(raw string) *admissionv1.AdmissionRequest {
	return &admissionv1.AdmissionRequest{
		UID: "u-1", Operation: admissionv1.Create, Namespace: "shop",
		Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
		Object:   runtime.RawExtension{Raw: []byte(raw)},
	}
}

const aPod = `{"metadata":{"generateName":"web-"},"spec":{"containers":[{"name":"app","image":"i"}]}}`

func ask(t *testing.T, h http.Handler, r *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
	t.Helper()
	review := admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"}, Request: r,
	}
	w := post(h, string(marshal(t, review)), "application/json; charset=utf-8")
	if w.Code != http.StatusOK {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	var got admissionv1.AdmissionReview
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Response == nil || got.Response.UID != "u-1" || got.Kind != "AdmissionReview" || got.APIVersion != "admission.k8s.io/v1" || got.Request != nil {
		t.Fatalf("the API server would not take %s", w.Body)
	}
	return got.Response
}

func post(h http.Handler, body, contentType string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, names.InjectPath, strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// TestHandlerInjects: the patch in the answer turns the pod that was sent into an injected one.
func TestHandlerInjects(t *testing.T) {
	answer := ask(t, handler(t, nil), request(aPod))
	if !answer.Allowed || answer.PatchType == nil || *answer.PatchType != admissionv1.PatchTypeJSONPatch {
		t.Fatalf("got %+v", answer)
	}
	var pod corev1.Pod
	if err := json.Unmarshal(apply(t, []byte(aPod), answer.Patch), &pod); err != nil {
		t.Fatal(err)
	}
	if len(pod.Spec.InitContainers) != 4 || pod.Labels[names.LabelProxy] != names.KindSidecar || len(pod.Spec.Containers) != 1 {
		t.Errorf("got %+v", pod)
	}
}

// TestHandlerAnswers: every other way a review can end.
func TestHandlerAnswers(t *testing.T) {
	with := func(change func(*admissionv1.AdmissionRequest)) *admissionv1.AdmissionRequest {
		r := request(aPod)
		change(r)
		return r
	}
	for name, c := range map[string]struct {
		options func(*HandlerOptions)
		req     *admissionv1.AdmissionRequest
		allowed bool
		code    int32
		says    string
	}{
		"update":      {req: with(func(r *admissionv1.AdmissionRequest) { r.Operation = admissionv1.Update }), allowed: true},
		"ephemeral":   {req: with(func(r *admissionv1.AdmissionRequest) { r.SubResource = "ephemeralcontainers" }), allowed: true},
		"other kind":  {req: with(func(r *admissionv1.AdmissionRequest) { r.Resource.Resource = "services" }), allowed: true},
		"opt-out":     {req: request(`{"metadata":{"labels":{"tulle.dev/inject":"disabled"}}}`), allowed: true},
		"told why":    {req: request(`{"spec":{"hostNetwork":true}}`), allowed: true, says: "hostNetwork"},
		"refused":     {req: request(`{"metadata":{"annotations":{"tulle.dev/x":"1"}}}`), code: http.StatusForbidden, says: "tulle.dev/x"},
		"not a pod":   {req: request(`{"spec":7}`), code: http.StatusBadRequest, says: "not a pod"},
		"no object":   {req: with(func(r *admissionv1.AdmissionRequest) { r.Object.Raw = nil }), code: http.StatusBadRequest},
		"no settings": {options: func(o *HandlerOptions) { o.Settings = func() (Settings, bool) { return Settings{}, false } }, req: request(aPod), code: http.StatusServiceUnavailable, says: "try again"},
		"new namespace": {options: func(o *HandlerOptions) {
			o.Namespace = func(context.Context, netip.Addr, string) (NamespaceFacts, error) {
				return NamespaceFacts{}, errors.New("not found")
			}
		}, req: request(aPod), code: http.StatusServiceUnavailable, says: "namespace shop"},
	} {
		t.Run(name, func(t *testing.T) {
			got := ask(t, handler(t, c.options), c.req)
			if got.Allowed != c.allowed || got.Patch != nil {
				t.Fatalf("got %+v", got)
			}
			said := strings.Join(got.Warnings, "\n")
			if !c.allowed {
				said = got.Result.Message
				if got.Result.Code != c.code {
					t.Errorf("code %d, want %d", got.Result.Code, c.code)
				}
			}
			if !strings.Contains(said, c.says) {
				t.Errorf("says %q, want something of %q", said, c.says)
			}
		})
	}
}

// TestHandlerRefusesGarbage: what is not a review is an HTTP error, which failurePolicy decides upon.
func TestHandlerRefusesGarbage(t *testing.T) {
	h := handler(t, nil)
	for name, c := range map[string]struct {
		body, contentType string
		code              int
	}{
		"no JSON":       {"<xml/>", "application/json", http.StatusBadRequest},
		"no request":    {`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}`, "application/json", http.StatusBadRequest},
		"other version": {`{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview","request":{"uid":"u"}}`, "application/json", http.StatusBadRequest},
		"other content": {"{}", "text/plain", http.StatusUnsupportedMediaType},
		"no content":    {"{}", "", http.StatusUnsupportedMediaType},
		"oversized":     {strings.Repeat(" ", maxReview+1), "application/json", http.StatusRequestEntityTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			if w := post(h, c.body, c.contentType); w.Code != c.code {
				t.Errorf("%d, want %d: %s", w.Code, c.code, w.Body)
			}
		})
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, names.InjectPath, nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", w.Code)
	}
}

// TestFresh: a pod stays without a proxy, or is refused, by fresh facts only; a proxy is put in by others, too.
func TestFresh(t *testing.T) {
	meshed := func(_ context.Context, _ netip.Addr, name string) (NamespaceFacts, error) {
		return NamespaceFacts{Name: name, Labels: map[string]string{names.LabelInject: names.InjectEnabled}}, nil
	}
	plain := func(_ context.Context, _ netip.Addr, name string) (NamespaceFacts, error) {
		return NamespaceFacts{Name: name}, nil
	}
	enforced := func(_ context.Context, _ netip.Addr, name string) (NamespaceFacts, error) {
		return NamespaceFacts{Name: name, Labels: map[string]string{names.LabelInject: names.InjectEnabled, enforceLabel: "restricted"}}, nil
	}
	fails := func(context.Context, netip.Addr, string) (NamespaceFacts, error) {
		return NamespaceFacts{}, errors.New("the API server is away")
	}
	type facts func(context.Context, netip.Addr, string) (NamespaceFacts, error)
	for name, c := range map[string]struct {
		watched, fresh    facts
		allowed, injected bool
		code              int32
	}{
		"meshed by the watch":   {watched: meshed, fresh: fails, allowed: true, injected: true},
		"meshed just now":       {watched: plain, fresh: meshed, allowed: true, injected: true},
		"not meshed":            {watched: plain, fresh: plain, allowed: true},
		"perhaps meshed":        {watched: plain, fresh: fails, code: http.StatusServiceUnavailable},
		"refused":               {watched: enforced, fresh: enforced, code: http.StatusForbidden},
		"no longer refused":     {watched: enforced, fresh: meshed, allowed: true, injected: true},
		"perhaps still refused": {watched: enforced, fresh: fails, code: http.StatusForbidden},
	} {
		got := ask(t, handler(t, func(o *HandlerOptions) { o.Namespace, o.Fresh = c.watched, c.fresh }), request(aPod))
		if got.Allowed != c.allowed || (got.Patch != nil) != c.injected || !c.allowed && got.Result.Code != c.code {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

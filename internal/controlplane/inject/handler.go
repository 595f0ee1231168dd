// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package inject

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// maxReview is the largest review read, in bytes: twice what the API server stores of one object.
const maxReview = 4 << 20

// HandlerOptions are what a Handler needs; all but Metrics are required.
type HandlerOptions struct {
	// Settings returns the current settings, or false before the Mesh has been seen. Called by many
	// goroutines at once.
	Settings func() (Settings, bool)
	// Namespace returns the facts of a namespace that was perhaps made a moment ago; an error lets the
	// pod's creator try again.
	Namespace func(ctx context.Context, name string) (NamespaceFacts, error)
	Log       logr.Logger
	// Metrics is where injections are counted; nil: nowhere.
	Metrics prometheus.Registerer
}

// Handler answers the API server's AdmissionReviews, at names.InjectPath. Safe for concurrent use.
type Handler struct {
	opts  HandlerOptions
	count *prometheus.CounterVec
}

// NewHandler makes a Handler.
func NewHandler(opts HandlerOptions) (*Handler, error) {
	if opts.Settings == nil || opts.Namespace == nil {
		return nil, errors.New("an injection Handler needs Settings and Namespace")
	}
	h := &Handler{opts: opts, count: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tulle_injection_reviews_total", Help: "Pods reviewed, by result (injected, skipped, refused, error).",
	}, []string{"result"})}
	// A counter that appears with its first event shows no increase.
	for _, result := range []string{"injected", "skipped", "refused", "error"} {
		h.count.WithLabelValues(result)
	}
	if opts.Metrics != nil {
		if err := opts.Metrics.Register(h.count); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// NewProbeToken returns 128 random bits for Settings.ProbeToken.
func NewProbeToken() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never returns an error
	return hex.EncodeToString(b[:])
}

// ServeHTTP answers one AdmissionReview. What is not one gets an HTTP error, which the webhook's
// failurePolicy then decides upon.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	review, status, err := read(w, r)
	if err != nil {
		h.count.WithLabelValues("error").Inc()
		http.Error(w, err.Error(), status)
		return
	}
	answer := h.review(r.Context(), review.Request)
	answer.UID = review.Request.UID
	w.Header().Set("Content-Type", "application/json")
	// The API server may be gone; there is nobody left to tell.
	_ = json.NewEncoder(w).Encode(admissionv1.AdmissionReview{TypeMeta: review.TypeMeta, Response: answer})
}

func read(w http.ResponseWriter, r *http.Request) (*admissionv1.AdmissionReview, int, error) {
	if r.Method != http.MethodPost {
		return nil, http.StatusMethodNotAllowed, errors.New("use POST")
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return nil, http.StatusUnsupportedMediaType, errors.New("want application/json")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxReview))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, http.StatusRequestEntityTooLarge, fmt.Errorf("the review is larger than %d bytes", maxReview)
	case err != nil:
		return nil, http.StatusBadRequest, errors.New("reading the review failed")
	}
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(body, &review); err != nil {
		return nil, http.StatusBadRequest, errors.New("not an AdmissionReview")
	}
	if review.Request == nil || review.APIVersion != admissionv1.SchemeGroupVersion.String() || review.Kind != "AdmissionReview" {
		return nil, http.StatusBadRequest, fmt.Errorf("want an AdmissionReview of %s with a request", admissionv1.SchemeGroupVersion)
	}
	return &review, 0, nil
}

func (h *Handler) review(ctx context.Context, req *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
	if req.Operation != admissionv1.Create || req.Resource != (metav1.GroupVersionResource{Version: "v1", Resource: "pods"}) || req.SubResource != "" {
		return h.skip(nil)
	}
	var pod corev1.Pod
	if err := json.Unmarshal(req.Object.Raw, &pod); err != nil {
		return h.fail(http.StatusBadRequest, metav1.StatusReasonBadRequest, "the object is not a pod")
	}
	settings, ok := h.opts.Settings()
	if !ok {
		return h.fail(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable,
			"Tulle's control plane has not seen its Mesh yet: try again in a moment")
	}
	ns, err := h.opts.Namespace(ctx, req.Namespace)
	if err != nil {
		h.opts.Log.Error(err, "Reading namespace", "namespace", req.Namespace)
		return h.fail(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable,
			"Tulle's control plane does not know namespace "+req.Namespace+" yet: try again in a moment")
	}
	settings.ProbeToken = NewProbeToken()
	result, refusal := Pod(&pod, ns, settings)
	name := pod.Name
	if name == "" {
		name = pod.GenerateName + "*"
	}
	log := h.opts.Log.WithValues("namespace", req.Namespace, "pod", name)
	if refusal != nil {
		h.count.WithLabelValues("refused").Inc()
		log.Info("Refused pod", "message", refusal.Message())
		return deny(http.StatusForbidden, metav1.StatusReasonForbidden, refusal.Message())
	}
	if result.Pod == nil {
		return h.skip(result.Warnings)
	}
	p, err := patch(&pod, result.Pod)
	if err != nil {
		log.Error(err, "Making patch")
		return h.fail(http.StatusInternalServerError, metav1.StatusReasonInternalError, "Tulle could not inject this pod; the control plane's log says why")
	}
	if result.Removed {
		h.count.WithLabelValues("skipped").Inc()
	} else {
		h.count.WithLabelValues("injected").Inc()
	}
	answer := &admissionv1.AdmissionResponse{Allowed: true, Warnings: result.Warnings}
	if p != nil {
		kind := admissionv1.PatchTypeJSONPatch
		answer.Patch, answer.PatchType = p, &kind
	}
	return answer
}

func (h *Handler) skip(warnings []string) *admissionv1.AdmissionResponse {
	h.count.WithLabelValues("skipped").Inc()
	return &admissionv1.AdmissionResponse{Allowed: true, Warnings: warnings}
}

func (h *Handler) fail(code int32, reason metav1.StatusReason, message string) *admissionv1.AdmissionResponse {
	h.count.WithLabelValues("error").Inc()
	return deny(code, reason, message)
}

func deny(code int32, reason metav1.StatusReason, message string) *admissionv1.AdmissionResponse {
	return &admissionv1.AdmissionResponse{
		Allowed: false,
		Result:  &metav1.Status{Status: metav1.StatusFailure, Code: code, Reason: reason, Message: message},
	}
}

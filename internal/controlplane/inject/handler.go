// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package inject

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/internal/bounded"
)

// HandlerOptions are what a Handler needs; all but Metrics are required.
type HandlerOptions struct {
	// Settings returns the current settings, or false before the Mesh has been seen. Called by many
	// goroutines at once.
	Settings func() (Settings, bool)
	// Namespace returns the facts of a namespace, which may be those of a moment ago, for a review from an address.
	// Called for any name, as often as strangers like; an error lets the pod's creator try again.
	Namespace func(ctx context.Context, from netip.Addr, name string) (NamespaceFacts, error)
	// Fresh returns facts with labels that are no older than the call. It is asked before a pod stays
	// without a proxy, or is refused, for what Namespace returned. Nil: Namespace returns such facts.
	Fresh func(ctx context.Context, from netip.Addr, name string) (NamespaceFacts, error)
	Log   logr.Logger
	// Metrics is where injections are counted; nil: nowhere.
	Metrics prometheus.Registerer
}

// Handler answers the API server's AdmissionReviews, at names.InjectPath. Safe for concurrent use.
type Handler struct {
	opts       HandlerOptions
	count      *prometheus.CounterVec
	gate       *gate
	quantities []string
	lines      sparing
}

// NewHandler makes a Handler.
func NewHandler(opts HandlerOptions) (*Handler, error) {
	if opts.Settings == nil || opts.Namespace == nil {
		return nil, errors.New("an injection Handler needs Settings and Namespace")
	}
	h := &Handler{opts: opts, gate: newGate(), quantities: quantityFields(), count: prometheus.NewCounterVec(prometheus.CounterOpts{
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
	review, no := h.gate.read(w, r)
	if no != nil {
		h.count.WithLabelValues("error").Inc()
		if no.Retry > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(no.Retry.Seconds())))
		}
		http.Error(w, no.Message, no.Status)
		return
	}
	defer review.drop() // also after a panic
	answer := h.review(r.Context(), bounded.Address(r), review.Request)
	answer.UID = review.Request.UID
	review.send(w, answer)
}

func (h *Handler) review(ctx context.Context, from netip.Addr, req *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
	if req.Operation != admissionv1.Create || req.Resource != (metav1.GroupVersionResource{Version: "v1", Resource: "pods"}) || req.SubResource != "" {
		return h.skip(nil)
	}
	if len(req.Namespace) > maxNamespace {
		return h.fail(http.StatusBadRequest, metav1.StatusReasonBadRequest, "the namespace's name is too long")
	}
	if err := checkQuantities(req.Object.Raw, h.quantities); err != nil {
		return h.fail(http.StatusBadRequest, metav1.StatusReasonBadRequest, "Tulle cannot read this pod: "+err.Error())
	}
	var pod corev1.Pod
	if err := json.Unmarshal(req.Object.Raw, &pod); err != nil {
		return h.fail(http.StatusBadRequest, metav1.StatusReasonBadRequest, "the object is not a pod")
	}
	pod.Status = corev1.PodStatus{} // the API server ignores it, and there may be much
	settings, ok := h.opts.Settings()
	if !ok {
		return h.fail(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable,
			"Tulle's control plane has not seen its Mesh yet: try again in a moment")
	}
	settings.ProbeToken = NewProbeToken()
	result, refusal, err := h.inject(ctx, from, &pod, req.Namespace, settings)
	if err != nil {
		if h.lines.allows(time.Now()) {
			h.opts.Log.Error(err, "Reading namespace", "namespace", req.Namespace)
		}
		return h.fail(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable,
			"Tulle's control plane does not know namespace "+req.Namespace+" yet: try again in a moment")
	}
	name := pod.Name
	if name == "" {
		name = pod.GenerateName + "*"
	}
	log := h.opts.Log.WithValues("namespace", req.Namespace, "pod", name[:min(len(name), maxName)])
	if refusal != nil {
		h.count.WithLabelValues("refused").Inc()
		if h.lines.allows(time.Now()) {
			log.Info("Refused pod", "message", refusal.Message())
		}
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

// inject decides by the facts of the pod's namespace. What the API server has just been told of the namespace
// may not have come here yet, so only a proxy is put in by facts that are not fresh.
func (h *Handler) inject(ctx context.Context, from netip.Addr, pod *corev1.Pod, namespace string, settings Settings) (Result, *Refusal, error) {
	ns, err := h.opts.Namespace(ctx, from, namespace)
	if err != nil {
		return Result{}, nil, err
	}
	result, refusal := Pod(pod, ns, settings)
	if h.opts.Fresh == nil || refusal == nil && result.Pod != nil && !result.Removed {
		return result, refusal, nil
	}
	fresh, err := h.opts.Fresh(ctx, from, namespace)
	switch {
	case err != nil && refusal != nil:
		return result, refusal, nil // the pod does not start, now or later
	case err != nil:
		return Result{}, nil, err
	case maps.Equal(fresh.Labels, ns.Labels):
		return result, refusal, nil
	}
	result, refusal = Pod(pod, fresh, settings)
	return result, refusal, nil
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

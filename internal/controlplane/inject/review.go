// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package inject

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"sync"
	"time"

	admissionv1 "k8s.io/api/admission/v1"

	"tulle.dev/tulle/internal/bounded"
)

// What strangers may send, see docs/adr/0026. The webhook can't tell the API server from others.
const (
	// maxReview is the largest review read, in bytes: twice what the API server stores of one object.
	maxReview = 4 << 20
	// reading bounds the bytes of all reviews in flight, working the memory of all that are decoded, by cost.
	reading = 12 << 20
	working = 48 << 20
	// wait is how long a review waits for others, each time: the API server waits for ten seconds in all.
	wait    = 3 * time.Second
	waiting = 256
	// slow is how long a review may take to arrive while others wait.
	slow = 500 * time.Millisecond
	// maxNamespace is the length of the longest name of a namespace.
	maxNamespace = 63
)

// maxShape bounds the structure of a review. A pod as large as the API server stores has some thousand
// elements, and of members, most of them in its managed fields, some ten thousand.
func maxShape() bounded.Shape { return bounded.Shape{Elements: 10_000, Members: 50_000, Depth: 64} }

// cost estimates the memory that serving a review takes, in bytes, from what is known before it is decoded.
// TestCost compares it with what is allocated.
func cost(size int, seen bounded.Shape) int64 {
	// A container is an element; its part of an injection costs more than itself.
	return int64(128<<10 + 8*size + 2048*seen.Elements + 512*seen.Members + 24<<10*min(seen.Elements, maxContainers))
}

// gate lets reviews in as far as there is memory for them.
type gate struct {
	bodies *bounded.Bodies
	work   *bounded.Budget
}

func newGate() *gate {
	budget := func(total int64) bounded.BudgetOptions {
		return bounded.BudgetOptions{Total: total, Share: total / 2, Wait: wait, Waiting: waiting, Grace: slow}
	}
	return &gate{
		bodies: bounded.NewBodies(bounded.BodyLimits{Bytes: maxReview, Shape: maxShape()}, budget(reading)),
		work:   bounded.NewBudget(budget(working)),
	}
}

// admitted is a review that was let in, with its parts of the budgets.
type admitted struct {
	*admissionv1.AdmissionReview
	body *bounded.Body
	work *bounded.Lease
}

// read reads and decodes a review. Without a refusal, end it with send.
func (g *gate) read(w http.ResponseWriter, r *http.Request) (*admitted, *bounded.Refusal) {
	refuse := func(status int, err error) *bounded.Refusal {
		return &bounded.Refusal{Status: status, Message: err.Error()}
	}
	if r.Method != http.MethodPost {
		return nil, refuse(http.StatusMethodNotAllowed, errors.New("use POST"))
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return nil, refuse(http.StatusUnsupportedMediaType, errors.New("want application/json"))
	}
	body, no := g.bodies.Read(w, r)
	if no != nil {
		return nil, no
	}
	work, err := g.work.Acquire(r.Context(), bounded.Address(r), cost(len(body.Bytes), body.Seen), nil)
	if err != nil {
		body.Release()
		return nil, bounded.Busy("the control plane reviews as many pods as it may at a time")
	}
	review, err := decode(body.Bytes)
	if err != nil {
		work.Release()
		body.Release()
		return nil, refuse(http.StatusBadRequest, err)
	}
	return &admitted{review, body, work}, nil
}

// drop ends a review without an answer. It does nothing after send.
func (a *admitted) drop() {
	a.work.Release()
	a.body.Release()
}

// send answers a review. A client that does not read the answer holds no more than the room of its request,
// and for a moment.
func (a *admitted) send(w http.ResponseWriter, answer *admissionv1.AdmissionResponse) {
	defer a.drop()
	text, err := json.Marshal(admissionv1.AdmissionReview{TypeMeta: a.TypeMeta, Response: answer})
	if err != nil {
		http.Error(w, "the answer can't be encoded", http.StatusInternalServerError) // strings and numbers always can
		return
	}
	a.work.Release()
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(wait)) // without deadlines it is written to memory
	w.Header().Set("Content-Type", "application/json")
	// The API server may be gone; there is nobody left to tell.
	_, _ = w.Write(text)
}

// decode decodes a review, whose shape is bounded already.
func decode(body []byte) (*admissionv1.AdmissionReview, error) {
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(body, &review); err != nil {
		return nil, errors.New("not an AdmissionReview")
	}
	if review.Request == nil || review.APIVersion != admissionv1.SchemeGroupVersion.String() || review.Kind != "AdmissionReview" {
		return nil, fmt.Errorf("want an AdmissionReview of %s with a request", admissionv1.SchemeGroupVersion)
	}
	return &review, nil
}

// sparing lets some log lines a second through: a flood of reviews must not become one of lines.
type sparing struct {
	mu     sync.Mutex // guards all below
	second int64
	lines  int
}

// linesPerSecond is how many lines a sparing lets through.
const linesPerSecond = 10

func (s *sparing) allows(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.second != now.Unix() {
		s.second, s.lines = now.Unix(), 0
	}
	s.lines++
	return s.lines <= linesPerSecond
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package ca

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"time"

	"tulle.dev/tulle/internal/bounded"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// Reason is why a request was refused: the closed set of values of the metric's label.
type Reason string

// Reasons, in the order in which a request can meet them.
const (
	ReasonMethod      Reason = "method"       // not a POST
	ReasonAddressRate Reason = "address_rate" // too many requests from one address
	ReasonNoToken     Reason = "no_token"     // no bearer token
	ReasonBusy        Reason = "busy"         // too many requests at once
	ReasonOversized   Reason = "oversized"    // body larger than protocol.MaxSignRequest, or of too many parts
	ReasonMalformed   Reason = "malformed"    // body is not a SignRequest
	ReasonCSR         Reason = "csr"          // the certificate request is unusable
	ReasonReview      Reason = "review"       // the API server could not be asked
	ReasonToken       Reason = "token"        // the API server does not vouch for the token
	ReasonUnbound     Reason = "unbound"      // the token is not bound to a pod
	ReasonOtherPod    Reason = "other_pod"    // the token is another pod's
	ReasonNoPod       Reason = "no_pod"       // no such live pod of this mesh
	ReasonReplayed    Reason = "replayed"     // asked from an address that is not the pod's
	ReasonPodRate     Reason = "pod_rate"     // too many certificates for one pod, or requests that name it
	ReasonNotReady    Reason = "not_ready"    // nothing to sign with
	ReasonInternal    Reason = "internal"     // signing failed
)

// reasons are all of them.
func reasons() []Reason {
	return []Reason{
		ReasonMethod, ReasonAddressRate, ReasonNoToken, ReasonBusy, ReasonOversized, ReasonMalformed, ReasonCSR, ReasonReview, ReasonToken,
		ReasonUnbound, ReasonOtherPod, ReasonNoPod, ReasonReplayed, ReasonPodRate, ReasonNotReady, ReasonInternal,
	}
}

// refusal is an answer other than a certificate. Message is for the agent's log and the pod's owner.
type refusal struct {
	Reason  Reason
	Status  int
	Message string
	// Retry is when asking again can help; 0: not said.
	Retry time.Duration
}

func refuse(status int, reason Reason, format string, args ...any) *refusal {
	return &refusal{Reason: reason, Status: status, Message: fmt.Sprintf(format, args...)}
}

// Token is what the API server says of a service account token.
type Token struct {
	Namespace, ServiceAccount string
	// Pod and PodUID are the pod the token is bound to; empty if it is bound to none.
	Pod, PodUID string
}

// maxShape bounds the structure of a request, which has four fields. A later agent may send more.
func maxShape() bounded.Shape { return bounded.Shape{Elements: 100, Members: 100, Depth: 8} }

// unread is why a body was not read. A body that is too large is a bad request by protocol.SignPath.
func unread(no *bounded.Refusal) *refusal {
	switch no.Status {
	case http.StatusRequestEntityTooLarge:
		return refuse(http.StatusBadRequest, ReasonOversized, "%s", no.Message)
	case http.StatusTooManyRequests:
		out := refuse(no.Status, ReasonBusy, "%s", no.Message)
		out.Retry = no.Retry
		return out
	}
	return refuse(no.Status, ReasonMalformed, "%s", no.Message)
}

// parseRequest reads a request: one JSON object. Unknown fields are let through, since a later agent may
// send them.
func parseRequest(b []byte) (protocol.SignRequest, *refusal) {
	var r protocol.SignRequest
	dec := json.NewDecoder(bytes.NewReader(b))
	if err := dec.Decode(&r); err != nil {
		return r, refuse(http.StatusBadRequest, ReasonMalformed, "the request is not a JSON SignRequest")
	}
	if _, err := dec.Token(); err != io.EOF {
		return r, refuse(http.StatusBadRequest, ReasonMalformed, "the request holds more than one JSON value")
	}
	switch {
	case r.CSR == "":
		return r, refuse(http.StatusBadRequest, ReasonMalformed, "csr is missing")
	case r.Pod == "" || r.PodUID == "":
		return r, refuse(http.StatusBadRequest, ReasonMalformed, "pod and podUID are required")
	case r.Lifetime < 0 || r.Lifetime > 0 && time.Duration(r.Lifetime) < minLifetime:
		return r, refuse(http.StatusBadRequest, ReasonMalformed,
			"lifetime %s: want at least %s, or 0 for the mesh's default", time.Duration(r.Lifetime), minLifetime)
	}
	return r, nil
}

// matchToken decides whether the token was made for the pod that is named in the request.
func matchToken(t Token, r protocol.SignRequest) *refusal {
	switch {
	case t.Namespace == "" || t.ServiceAccount == "":
		return refuse(http.StatusUnauthorized, ReasonToken, "the token is not a service account's")
	case t.Pod == "" || t.PodUID == "":
		return refuse(http.StatusUnauthorized, ReasonUnbound,
			"the token is not bound to a pod: mount a projected serviceAccountToken volume")
	case t.Pod != r.Pod || t.PodUID != r.PodUID:
		return refuse(http.StatusForbidden, ReasonOtherPod, "the token is bound to another pod than the one in the request")
	}
	return nil
}

// matchPod decides whether the token's pod is a live pod of this mesh. known is false when the
// control plane has not seen the pod. A pod that may still change for the better (not seen yet, or
// seen without its addresses) is refused with Retry.
func matchPod(t Token, w model.Workload, known bool) *refusal {
	no := func(format string, args ...any) *refusal {
		return refuse(http.StatusForbidden, ReasonNoPod, "pod %s/%s "+format, append([]any{t.Namespace, t.Pod}, args...)...)
	}
	switch {
	case !known || w.UID != t.PodUID:
		r := no("(uid %s) is not known to this control plane", t.PodUID)
		r.Retry = time.Second
		return r
	case w.Ended:
		return no("has ended")
	case !certified(w.Kind):
		return no("carries no proxy: label %s is neither %q nor %q, and label %s is not %q",
			names.LabelProxy, names.KindSidecar, names.KindGateway, names.LabelClient, names.ClientGRPC)
	case w.HostNetwork:
		return no("uses the host's network and cannot be meshed")
	case w.ServiceAccount != t.ServiceAccount:
		return no("runs as service account %s, not as the token's", w.ServiceAccount)
	case w.Kind == names.KindGateway && w.Gateway == "":
		return no("is a gateway without a Gateway: label %s is missing", names.LabelGateway)
	}
	return nil
}

// certified tells whether there are certificates for that kind of pod.
func certified(kind string) bool {
	return kind == names.KindSidecar || kind == names.KindGateway || kind == names.KindClient
}

// RewrittenAddresses ends the message of each refusal because of the address that a request comes from.
const RewrittenAddresses = "if this cluster rewrites the source addresses of pods, set spec.controlPlane.sourceAddressCheck: Disabled in the Mesh"

// matchAddress decides whether a request comes from the pod itself, so that a stolen token is of no
// use elsewhere.
func matchAddress(t Token, w model.Workload, remote netip.Addr) *refusal {
	if len(w.Addresses) == 0 {
		r := refuse(http.StatusForbidden, ReasonNoPod, "pod %s/%s has no address yet", t.Namespace, t.Pod)
		r.Retry = time.Second
		return r
	}
	if !w.HasAddress(remote) {
		return refuse(http.StatusForbidden, ReasonReplayed,
			"the request for pod %s/%s came from %s, which is not an address of that pod; %s", t.Namespace, t.Pod, remote, RewrittenAddresses)
	}
	return nil
}

// lifetime is the shorter of what is wanted and what the mesh gives.
func lifetime(wanted, mesh time.Duration) time.Duration {
	if mesh <= 0 {
		mesh = defaultLifetime
	}
	if wanted > 0 && wanted < mesh {
		return wanted
	}
	return mesh
}

const defaultLifetime = 24 * time.Hour

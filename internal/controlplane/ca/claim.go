// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package ca

import (
	"encoding/base64"
	"encoding/json"
	"net/netip"
	"strings"

	"tulle.dev/tulle/internal/controlplane/model"
)

// limitRequests takes a request from an account, before anything that is costly. That is the account of its address, or,
// where the pods of a node may share an address, of the pod that its token names, if there is such a pod. So a client
// without a token does not keep the others at its address waiting. The token is not verified yet: a client that knows the
// UID of a pod can use up the account of this pod, and no other one.
func (s *Signer) limitRequests(remote netip.Addr, bearer string) *refusal {
	if s.opts.AnyAddress() {
		k, uid := claimedPod(bearer)
		if w, known := s.opts.Pod(k); known && uid != "" && matchPod(Token{Namespace: k.Namespace, Pod: k.Name, PodUID: uid, ServiceAccount: w.ServiceAccount}, w, known) == nil {
			return limited(s.claims, uid, s.opts.Now(), ReasonPodRate, "too many requests for this pod")
		}
	}
	return limited(s.addresses, remote.String(), s.opts.Now(), ReasonAddressRate, "too many requests from this address")
}

// claimedPod returns the pod that a service account token names, and its UID. Nothing of that is verified. The UID is empty
// if the token names none.
func claimedPod(bearer string) (model.Key, string) {
	parts := strings.Split(bearer, ".")
	if len(parts) != 3 {
		return model.Key{}, ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return model.Key{}, ""
	}
	var claims struct {
		Kubernetes struct {
			Namespace string `json:"namespace"`
			Pod       struct {
				Name string `json:"name"`
				UID  string `json:"uid"`
			} `json:"pod"`
		} `json:"kubernetes.io"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return model.Key{}, ""
	}
	return model.Key{Namespace: claims.Kubernetes.Namespace, Name: claims.Kubernetes.Pod.Name}, claims.Kubernetes.Pod.UID
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package mesh

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"

	"tulle.dev/tulle/internal/names"
)

// ProxyCounter says how many proxies are connected to these pods of a control plane; nil: it can't be known.
type ProxyCounter interface {
	Connected(ctx context.Context, pods []corev1.Pod) *int32
}

// askTimeout bounds how long a replica that doesn't answer holds a round up.
const askTimeout = 2 * time.Second

// maxAnswer bounds what is read of a replica's answer: a few hundred bytes per proxy.
const maxAnswer = 32 << 20

// Debug counts by asking each ready replica's debug endpoint.
type Debug struct{ Client *http.Client }

// NewDebug makes a counter whose requests never wait long and never go through a web proxy.
func NewDebug() Debug {
	return Debug{Client: &http.Client{Timeout: askTimeout, Transport: &http.Transport{IdleConnTimeout: time.Minute}}}
}

// Connected adds up the connections of all ready replicas. One that doesn't answer makes the sum
// unknown, rather than too small.
func (d Debug) Connected(ctx context.Context, pods []corev1.Pod) *int32 {
	sum, asked := int32(0), false
	for _, p := range pods {
		if !ready(p) || p.Status.PodIP == "" {
			continue
		}
		n, err := d.ask(ctx, p.Status.PodIP)
		if err != nil {
			return nil
		}
		sum, asked = sum+n, true
	}
	if !asked {
		return nil
	}
	return &sum
}

func (d Debug) ask(ctx context.Context, ip string) (int32, error) {
	url := "http://" + net.JoinHostPort(ip, strconv.Itoa(names.PortMonitor)) + names.PathProxies
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, err
	}
	resp, err := d.Client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("ask %s: %s", url, resp.Status)
	}
	return count(io.LimitReader(resp.Body, maxAnswer))
}

// count reads a list of proxies, {"proxies":[…]}.
func count(r io.Reader) (int32, error) {
	var answer struct {
		Proxies []struct{} `json:"proxies"`
	}
	if err := json.NewDecoder(r).Decode(&answer); err != nil {
		return 0, err
	}
	return int32(len(answer.Proxies)), nil
}

func ready(p corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue && p.DeletionTimestamp.IsZero()
		}
	}
	return false
}

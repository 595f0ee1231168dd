// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package mesh

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/internal/lifecycle/debug"
	"tulle.dev/tulle/internal/lifecycle/shadow"
	"tulle.dev/tulle/internal/lifecycle/upgrade"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/printable"
	"tulle.dev/tulle/internal/protocol"
)

// ControlPlanes asks replicas of control planes what they know; see Debug, which does.
type ControlPlanes interface {
	Proxies(ctx context.Context, pods []corev1.Pod) (list []upgrade.Proxy, cpu *float64, complete bool)
	Difference(ctx context.Context, oldPods, newPods []corev1.Pod) (*shadow.Difference, error)
}

// askTimeout bounds how long a replica that doesn't answer holds a round up.
const askTimeout = 2 * time.Second

// Asker asks a replica for a path of its internal port; see debug.Client, which does.
type Asker interface {
	Get(ctx context.Context, pod *corev1.Pod, path string, query url.Values) ([]byte, error)
}

// Debug asks each ready replica's debug paths, all at once.
type Debug struct{ Ask Asker }

// NewDebug returns a Debug whose requests never wait long. It verifies replicas by the
// namespace's ConfigMap names.TrustConfigMap, which it reads each time, and proves itself by the token in a file.
func NewDebug(live client.Reader, namespace, tokenFile string) Debug {
	return Debug{Ask: debug.Client{
		Namespace: namespace, Timeout: askTimeout,
		Roots: func(ctx context.Context) ([]byte, error) {
			cm := &corev1.ConfigMap{}
			if err := live.Get(ctx, client.ObjectKey{Namespace: namespace, Name: names.TrustConfigMap}, cm); err != nil {
				return nil, fmt.Errorf("get ConfigMap %s/%s: %w", namespace, names.TrustConfigMap, err)
			}
			return []byte(debug.Anchors(cm)), nil
		},
		Token: func(context.Context) (string, error) {
			text, err := os.ReadFile(tokenFile)
			if err != nil {
				return "", fmt.Errorf("read the operator's token for control planes: %w", err)
			}
			return strings.TrimSpace(string(text)), nil
		},
	}}
}

// Proxies lists the proxies that are connected to these replicas, sorted, each slot of a pod once, and
// adds up the cores that the replicas use; nil: one of them doesn't tell. complete is false if no replica
// is ready, or one of those that are did not answer: then a proxy that is missing may be connected all
// the same. Replicas that are not ready may have connections too, and are asked; that such a one doesn't
// answer says nothing.
func (d Debug) Proxies(ctx context.Context, pods []corev1.Pod) (list []upgrade.Proxy, cpu *float64, complete bool) {
	type answer struct {
		Proxies []connection `json:"proxies"`
		// CPU is how many cores it uses; nil: it doesn't tell.
		CPU *float64 `json:"cpu"`

		failed, lack bool
	}
	answers := make(chan answer)
	asked := 0
	for _, p := range pods {
		if p.Status.PodIP == "" {
			continue
		}
		asked++
		complete = complete || ready(p)
		go func() {
			var a answer
			if d.get(ctx, &p, names.PathProxies, &a) != nil {
				a = answer{failed: true, lack: ready(p)}
			}
			answers <- a
		}()
	}
	cores, told := 0.0, true
	var all []connection
	for range asked {
		a := <-answers
		complete = complete && !a.lack
		all = append(all, a.Proxies...)
		if a.CPU != nil {
			cores += *a.CPU
		} else if !a.failed {
			told = false
		}
	}
	if complete && told {
		cpu = &cores
	}
	return newest(all), cpu, complete
}

// connected counts pods, of which a proxy in either slot may be connected.
func connected(list []upgrade.Proxy) int32 {
	pods := map[[2]string]bool{}
	for _, p := range list {
		pods[[2]string{p.Namespace, p.Pod}] = true
	}
	return int32(len(pods)) //nolint:gosec // pods
}

// newest are the connections as proxies. A slot that has just connected anew may still have its former
// connection somewhere: the later one counts.
func newest(all []connection) []upgrade.Proxy {
	slices.SortFunc(all, func(a, b connection) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Pod, b.Pod), cmp.Compare(a.Slot, b.Slot), b.Since.Compare(a.Since))
	})
	all = slices.CompactFunc(all, func(a, b connection) bool {
		return a.Slot != "" && a.Namespace == b.Namespace && a.Pod == b.Pod && a.Slot == b.Slot
	})
	list := make([]upgrade.Proxy, 0, len(all))
	for _, c := range all {
		list = append(list, c.proxy())
	}
	return list
}

// connection is a proxy in a replica's answer, which may be of an older or a newer release: what is
// missing is zero, what is unknown is left out.
type connection struct {
	Namespace string    `json:"namespace"`
	Pod       string    `json:"pod"`
	Slot      string    `json:"slot"`
	Agent     string    `json:"agent"`
	Envoy     string    `json:"envoy"`
	Since     time.Time `json:"since"`
	Pending   int       `json:"pending"`
	Rejected  int       `json:"rejected"`
	Nacks     []struct {
		Type    string `json:"type"`
		Name    string `json:"name"`
		Message string `json:"message"`
	} `json:"nacks"`
	Report protocol.Report `json:"report"`
	// Cut: the control plane shortened what the pod reports.
	Cut bool `json:"cut"`
}

// proxy returns the connection as a proxy, with each text as one line: control planes before 0.3.0 pass on what pods report.
func (c connection) proxy() upgrade.Proxy {
	p := upgrade.Proxy{
		Namespace: c.Namespace, Pod: c.Pod, Slot: printable.Line(c.Slot), Version: printable.Line(c.Agent), Envoy: printable.Line(c.Envoy),
		Phase: c.Report.Phase, Message: printable.Line(c.Report.Message), Pending: c.Pending, Rejected: c.Rejected,
		Window: time.Duration(c.Report.Window), Requests: c.Report.Requests, Failures: c.Report.Failures,
		P50: c.Report.P50, P99: c.Report.P99, Restarts: c.Report.Restarts, Cut: c.Cut,
	}
	for _, n := range c.Nacks {
		p.Nacks = append(p.Nacks, printable.Line(n.Type[strings.LastIndexByte(n.Type, '.')+1:]+" "+n.Name+": "+n.Message))
	}
	return p
}

// get asks a replica for a debug path and reads its answer.
func (d Debug) get(ctx context.Context, pod *corev1.Pod, path string, into any) error {
	body, err := d.Ask.Get(ctx, pod, path, nil)
	if err != nil {
		ctrl.LoggerFrom(ctx).V(1).Info("A replica of the control plane gave no answer", "pod", pod.Name, "path", path, "reason", err.Error())
		return fmt.Errorf("ask Pod %s for %s: %w", pod.Name, path, err)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("read what Pod %s answers to %s: %w", pod.Name, path, err)
	}
	return nil
}

func ready(p corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue && p.DeletionTimestamp.IsZero()
		}
	}
	return false
}

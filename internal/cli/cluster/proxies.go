// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/streaming/pkg/httpstream"

	"tulle.dev/tulle/internal/cli/facts"
	"tulle.dev/tulle/internal/clip"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/printable"
	"tulle.dev/tulle/internal/protocol"
)

// warningsOf reads what injection recorded; an annotation that can't be read warns of nothing.
func warningsOf(annotation string) []string {
	var in protocol.Injected
	if err := json.Unmarshal([]byte(annotation), &in); err != nil {
		return nil
	}
	return in.Warnings
}

// streams asks every ready replica of the control plane.
func (c *Cluster) streams(ctx context.Context, f *facts.Facts) error {
	if len(f.ControlPlane) == 0 {
		return nil
	}
	list, err := c.typed.CoreV1().Pods(c.System(ctx)).List(ctx, metav1.ListOptions{LabelSelector: names.LabelRevision + ",!" + names.LabelProxy})
	if err != nil {
		return err
	}
	var failures []error
	asked := 0
	for i := range list.Items {
		p := &list.Items[i]
		if !podOf(p).Ready || ended(p) {
			continue
		}
		asked++
		got, err := c.replica(ctx, p)
		if err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", p.Name, err))
			continue
		}
		f.Streams = append(f.Streams, got...)
	}
	if asked == 0 {
		return errors.New("no replica of the control plane is ready")
	}
	return errors.Join(failures...)
}

func (c *Cluster) replica(ctx context.Context, pod *corev1.Pod) ([]facts.Stream, error) {
	body, err := c.Ask(ctx, pod, names.PathProxies, nil)
	if err != nil {
		return nil, err
	}
	return parseStreams(body, pod.Name)
}

func parseStreams(body []byte, replica string) ([]facts.Stream, error) {
	var answer struct {
		Proxies []facts.Stream `json:"proxies"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("parse %s: %w", names.PathProxies, err)
	}
	for i := range answer.Proxies {
		s := &answer.Proxies[i]
		s.Replica = replica
		for i, n := range s.Nacks { // as releases before 0.3.0 pass on what pods report
			s.Nacks[i] = facts.Nack{Type: printable.Line(n.Type), Name: printable.Line(n.Name), Message: printable.Line(n.Message)}
		}
	}
	return answer.Proxies, nil
}

// ErrNoProxy says that a pod carries no proxy.
var ErrNoProxy = errors.New("the pod carries no proxy")

// AdminGet asks a pod's Envoy for a path of its admin interface, which is a socket inside the pod
// that only the proxy's own program reads.
func (c *Cluster) AdminGet(ctx context.Context, namespace, pod, path string) ([]byte, error) {
	p, err := c.typed.CoreV1().Pods(namespace).Get(ctx, pod, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	container, err := slotOf(p)
	if err != nil {
		return nil, fmt.Errorf("%s/%s: %w", namespace, pod, err)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	// Any program of the pod may answer: the container's image is its author's.
	out, errs := &bounded{most: maxAdmin, full: stop}, &bounded{most: maxAdminError, full: func() {}}
	command := []string{protocol.ProxyCommand, "admin", http.MethodGet, path}
	err = c.exec(ctx, p, container, command, out, errs)
	body, whole := out.text()
	if !whole {
		return nil, fmt.Errorf("ask the proxy of %s/%s: the answer has more than %d MiB; write it to a file: kubectl -n %s exec %s -c %s -- %s '%s' > FILE",
			namespace, pod, maxAdmin>>20, namespace, pod, container, strings.Join(command[:len(command)-1], " "), path)
	}
	if err != nil {
		said, _ := errs.text()
		if text := clip.Text(strings.TrimSpace(string(said)), maxAdminError); text != "" {
			return nil, fmt.Errorf("ask the proxy of %s/%s: %s", namespace, pod, text)
		}
		return nil, fmt.Errorf("ask the proxy of %s/%s: %w", namespace, pod, err)
	}
	return body, nil
}

// slotOf picks a slot that runs. Either will do: both see the active one's socket.
func slotOf(p *corev1.Pod) (string, error) {
	has := false
	for _, s := range p.Status.InitContainerStatuses {
		if s.Name != names.ContainerSlotA && s.Name != names.ContainerSlotB {
			continue
		}
		has = true
		if s.State.Running != nil {
			return s.Name, nil
		}
	}
	if has {
		return "", errors.New("no slot of the proxy runs: kubectl describe the pod")
	}
	return "", ErrNoProxy
}

// exec runs a command in a container, over WebSocket where the API server has it, else SPDY.
func (c *Cluster) exec(ctx context.Context, p *corev1.Pod, container string, command []string, out, errs io.Writer) error {
	config := rest.CopyConfig(c.config)
	config.Timeout = 0 // would cut the stream; ctx bounds it
	url := c.typed.CoreV1().RESTClient().Post().Resource("pods").Namespace(p.Namespace).Name(p.Name).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: container, Command: command, Stdout: true, Stderr: true}, scheme.ParameterCodec).URL()
	old, err := remotecommand.NewSPDYExecutor(config, http.MethodPost, url)
	if err != nil {
		return err
	}
	fresh, err := remotecommand.NewWebSocketExecutor(config, http.MethodGet, url.String())
	if err != nil {
		return err
	}
	both, err := remotecommand.NewFallbackExecutor(fresh, old, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
	if err != nil {
		return err
	}
	return both.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: out, Stderr: errs})
}

// IsNotFound says whether an error means that the object is not there.
func IsNotFound(err error) bool { return apierrors.IsNotFound(err) }

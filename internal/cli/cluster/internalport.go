// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/internal/lifecycle/debug"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// tokenSeconds is how long a token for control planes is valid: the shortest that the API server gives.
const tokenSeconds = 600

// accessFor is how long roots and token are used again. Commands that watch may run for hours.
const accessFor = time.Minute

// access is what a command needs to ask control planes.
type access struct {
	// dial connects to a port of a pod; nil means through the API server.
	dial func(ctx context.Context, pod *corev1.Pod, port int) (net.Conn, error)

	mu           sync.Mutex // guards all below
	at           time.Time
	roots, token string
}

// access returns the roots by which control planes are verified, PEM, and a token for them.
func (c *Cluster) access(ctx context.Context) (roots, token string, err error) {
	c.debug.mu.Lock()
	defer c.debug.mu.Unlock()
	if time.Since(c.debug.at) < accessFor {
		return c.debug.roots, c.debug.token, nil
	}
	system := c.System(ctx)
	if roots, err = c.roots(ctx, system); err != nil {
		return "", "", err
	}
	if token, err = c.debugToken(ctx, system); err != nil {
		return "", "", err
	}
	c.debug.at, c.debug.roots, c.debug.token = time.Now(), roots, token
	return roots, token, nil
}

// Ask asks a replica of the control plane for a path. It goes through the API server to the pod's internal
// port, as kubectl port-forward does, and inside that connection by TLS, whose other end must prove with the
// mesh's certificates that it is the control plane. The caller proves itself with a token of names.DebugAccount.
// A replica of a release up to 0.2.0 has no such port; the API server asks it in plaintext.
func (c *Cluster) Ask(ctx context.Context, pod *corev1.Pod, path string, query url.Values) ([]byte, error) {
	if !debug.HasInternalPort(pod) {
		return c.askOld(ctx, pod, path, query)
	}
	roots, token, err := c.access(ctx)
	if err != nil {
		return nil, err
	}
	client := debug.Client{
		Namespace: c.System(ctx), Timeout: requestTimeout, Dial: c.debug.dial,
		Roots: func(context.Context) ([]byte, error) { return []byte(roots), nil },
		Token: func(context.Context) (string, error) { return token, nil },
	}
	if client.Dial == nil {
		client.Dial = c.forward
	}
	body, err := client.Get(ctx, pod, path, query)
	var answer *debug.StatusError
	if errors.As(err, &answer) && answer.Code == http.StatusForbidden && answer.Body == protocol.HiddenResource {
		return nil, ErrHidden
	}
	return body, err
}

// askOld asks a replica of a release up to 0.2.0.
func (c *Cluster) askOld(ctx context.Context, pod *corev1.Pod, path string, query url.Values) ([]byte, error) {
	params := map[string]string{}
	for k := range query {
		params[k] = query.Get(k)
	}
	body, err := c.typed.CoreV1().Pods(c.System(ctx)).ProxyGet("http", pod.Name, strconv.Itoa(names.PortMonitor), path, params).DoRaw(ctx)
	if apierrors.IsForbidden(err) && !json.Valid(body) { // the replica's answer; the API server's is JSON
		return nil, ErrHidden
	}
	return body, err
}

// isStatus reports whether an error is an answer of a replica, or of the API server in its place, with this
// status.
func isStatus(err error, code int) bool {
	var answer *debug.StatusError
	if errors.As(err, &answer) {
		return answer.Code == code
	}
	var status apierrors.APIStatus
	return errors.As(err, &status) && int(status.Status().Code) == code
}

// roots reads what the control plane's certificate is verified by.
func (c *Cluster) roots(ctx context.Context, system string) (string, error) {
	cm, err := c.typed.CoreV1().ConfigMaps(system).Get(ctx, names.TrustConfigMap, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("get ConfigMap %s/%s: %w", system, names.TrustConfigMap, err)
	}
	return debug.Anchors(cm), nil
}

// debugToken asks the API server for a token of names.DebugAccount.
func (c *Cluster) debugToken(ctx context.Context, system string) (string, error) {
	seconds := int64(tokenSeconds)
	r, err := c.typed.CoreV1().ServiceAccounts(system).CreateToken(ctx, names.DebugAccount, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{Audiences: []string{names.InternalAudience}, ExpirationSeconds: &seconds},
	}, metav1.CreateOptions{})
	switch {
	case apierrors.IsForbidden(err):
		return "", fmt.Errorf("create a token of ServiceAccount %s/%s: %w; an administrator can allow it with: kubectl -n %s create rolebinding NAME --role=%s-user --user=YOU",
			system, names.DebugAccount, err, system, names.DebugAccount)
	case IsNotFound(err):
		return "", fmt.Errorf("create a token of ServiceAccount %s/%s: it does not exist; install the operator's manifests of this release", system, names.DebugAccount)
	case err != nil:
		return "", fmt.Errorf("create a token of ServiceAccount %s/%s: %w", system, names.DebugAccount, err)
	}
	return r.Status.Token, nil
}

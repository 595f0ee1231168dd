// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package debug

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"tulle.dev/tulle/internal/names"
)

// MaxAnswer bounds what is read of an answer, in bytes: about half a kilobyte for each proxy.
const MaxAnswer = 32 << 20

// Client asks replicas of the control plane. All fields but Dial are required. Safe for concurrent use.
type Client struct {
	// Namespace is the control plane's.
	Namespace string
	// Timeout bounds one question with its answer.
	Timeout time.Duration
	// Roots returns what the control plane's certificate must chain to, PEM; see Anchors.
	Roots func(ctx context.Context) ([]byte, error)
	// Token returns a token for names.InternalAudience.
	Token func(ctx context.Context) (string, error)
	// Dial connects to a port of a pod; nil means to its address.
	Dial func(ctx context.Context, pod *corev1.Pod, port int) (net.Conn, error)
}

// Anchors returns what a control plane's certificate must chain to, PEM, of the ConfigMap names.TrustConfigMap
// in the control plane's namespace: the mesh's own intermediates if they are required, else the roots.
func Anchors(trust *corev1.ConfigMap) string {
	return cmp.Or(trust.Data[names.IntermediatesKey], trust.Data[names.TrustKey])
}

// StatusError is an answer with another status than 200.
type StatusError struct {
	// Code is the HTTP status, Body what the replica says about it.
	Code int
	Body string
}

func (e *StatusError) Error() string {
	if e.Body == "" {
		return fmt.Sprintf("%d %s", e.Code, http.StatusText(e.Code))
	}
	return fmt.Sprintf("%d %s: %s", e.Code, http.StatusText(e.Code), e.Body)
}

// HasInternalPort reports whether a pod of the control plane was made with the internal port. Pods of
// releases up to 0.2.0 were not.
func HasInternalPort(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Spec.Containers, func(c corev1.Container) bool {
		return c.Name == names.ContainerControlPlane && slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool {
			return p.Name == names.InternalPortName
		})
	})
}

// Get asks a replica for a path and returns its answer. An error that the replica sent is a *StatusError. A
// pod that was made without the internal port is asked on the monitoring port, in plaintext.
func (c Client) Get(ctx context.Context, pod *corev1.Pod, path string, query url.Values) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	port, scheme, token := names.PortInternal, "https", ""
	transport := &http.Transport{DisableKeepAlives: true} // no proxy of the environment, and the roots of now
	if HasInternalPort(pod) {
		config, err := c.config(ctx)
		if err != nil {
			return nil, err
		}
		if token, err = c.Token(ctx); err != nil {
			return nil, err
		}
		transport.TLSClientConfig = config
	} else {
		port, scheme = names.PortMonitor, "http"
	}
	transport.DialContext = func(ctx context.Context, _, address string) (net.Conn, error) {
		if c.Dial != nil {
			return c.Dial(ctx, pod, port)
		}
		return (&net.Dialer{}).DialContext(ctx, "tcp", address)
	}
	u := url.URL{Scheme: scheme, Host: net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(port)), Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the answer of %s: %w", &u, err)
	case len(body) > MaxAnswer:
		return nil, fmt.Errorf("read the answer of %s: it has more than %d bytes", &u, MaxAnswer)
	case resp.StatusCode != http.StatusOK:
		return nil, &StatusError{Code: resp.StatusCode, Body: first(body)}
	}
	return body, nil
}

func (c Client) config(ctx context.Context) (*tls.Config, error) {
	text, err := c.Roots(ctx)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, errors.New("verify the control plane: the mesh has no root certificate yet")
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: roots, ServerName: names.ControlPlaneHost(c.Namespace), NextProtos: []string{"http/1.1"},
	}, nil
}

// first is the first line of a body, and not too much of it.
func first(body []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(body[:min(len(body), 500)])), "\n")
	return line
}

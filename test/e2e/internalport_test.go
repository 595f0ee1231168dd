// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	controlplane "tulle.dev/tulle/internal/cli/cluster"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/testing/cluster"
)

// TestDebugIsNotForStrangers: without credentials each replica of the control plane serves health and metrics
// and nothing else; its internal port tells nothing to a caller without a token, in plaintext, or with the
// token of a workload's account, and tells an administrator, by port-forward.
func TestDebugIsNotForStrangers(t *testing.T) {
	t.Parallel()
	c := cluster.Connect(t)
	ns := c.Namespace(t, "debugged")
	seconds := int64(600)
	var token *authenticationv1.TokenRequest
	cluster.Eventually(t, time.Minute, "a token of the namespace's account", func() (err error) {
		token, err = c.Kube.CoreV1().ServiceAccounts(ns).CreateToken(t.Context(), "default", &authenticationv1.TokenRequest{
			Spec: authenticationv1.TokenRequestSpec{Audiences: []string{names.InternalAudience}, ExpirationSeconds: &seconds},
		}, metav1.CreateOptions{})
		return err
	})
	stranger := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true, //nolint:gosec // a stranger's client
	}}
	get := func(scheme string, p corev1.Pod, port int, path, token string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, scheme+"://"+net.JoinHostPort(p.Status.PodIP, strconv.Itoa(port))+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := stranger.Do(req)
		if err != nil {
			return 0, err.Error()
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return 0, err.Error()
		}
		return resp.StatusCode, string(body)
	}
	replicas, err := controlplane.New(c.Config, "", names.SystemNamespace)
	if err != nil {
		t.Fatal(err)
	}
	pods := c.Pods(t, names.SystemNamespace, names.LabelApp+"="+names.ControlPlaneService)
	if len(pods) == 0 {
		t.Fatal("there is no control plane")
	}
	for _, p := range pods {
		for _, path := range []string{names.PathLive, names.PathReady, names.PathMetrics} {
			if code, body := get("http", p, names.PortMonitor, path, ""); code != http.StatusOK {
				t.Errorf("%s of %s: %d %s", path, p.Name, code, body)
			}
		}
		for _, path := range []string{names.PathProxies, names.PathTrust, names.PathTranslation, names.PathProgress + "?seq=0"} {
			if code, body := get("http", p, names.PortMonitor, path, ""); code != http.StatusNotFound {
				t.Errorf("%s of %s in plaintext: %d %s", path, p.Name, code, body)
			}
			if code, body := get("http", p, names.PortInternal, path, token.Status.Token); code != http.StatusBadRequest && code != 0 {
				t.Errorf("%s of %s in plaintext to the internal port: %d %s", path, p.Name, code, body)
			}
			if code, body := get("https", p, names.PortInternal, path, ""); code != http.StatusUnauthorized {
				t.Errorf("%s of %s without a token: %d %s", path, p.Name, code, body)
			}
			if code, body := get("https", p, names.PortInternal, path, token.Status.Token); code != http.StatusForbidden {
				t.Errorf("%s of %s with a workload's token: %d %s", path, p.Name, code, body)
			}
		}
		if body, err := replicas.Ask(t.Context(), &p, names.PathProxies, nil); err != nil || !strings.Contains(string(body), `"proxies":[`) {
			t.Errorf("an administrator asks %s: %s, %v", p.Name, body, err)
		}
	}
}

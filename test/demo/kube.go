// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// kube changes the cluster with kubectl, as a reader would, and reads it with a client.
type kube struct {
	kubectl []string
	typed   kubernetes.Interface
	dynamic dynamic.Interface
}

func connect() (*kube, error) {
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		clientcmd.NewDefaultClientConfigLoadingRules(), &clientcmd.ConfigOverrides{}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("read KUBECONFIG: %w", err)
	}
	config.QPS, config.Burst = 100, 200
	config.WarningHandler = rest.NoWarnings{}
	typed, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	dyn, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	command := strings.Fields(os.Getenv("KUBECTL"))
	if len(command) == 0 {
		command = []string{"kubectl"}
	}
	if _, err := exec.LookPath(command[0]); err != nil {
		return nil, fmt.Errorf("find kubectl (name it in KUBECTL): %w", err)
	}
	return &kube{kubectl: command, typed: typed, dynamic: dyn}, nil
}

// run runs kubectl and returns what it printed; its complaint is in the error.
func (k *kube) run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, k.kubectl[0], append(k.kubectl[1:len(k.kubectl):len(k.kubectl)], args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("kubectl %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// resource is a kind that the demo reads.
func resource(group, version, plural string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: group, Version: version, Resource: plural}
}

func httpRoutes() schema.GroupVersionResource {
	return resource("gateway.networking.k8s.io", "v1", "httproutes")
}

// get reads one object; nil when it is not there. namespace is empty for cluster-wide kinds.
func (k *kube) get(ctx context.Context, r schema.GroupVersionResource, namespace, name string) (*unstructured.Unstructured, error) {
	u, err := k.dynamic.Resource(r).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return u, err
}

// condition returns the status, and the reason and message, of one condition in a list; current is
// false when it is about an older generation than the object's.
func condition(list []any, name string, generation int64) (status, why string, current bool) {
	for _, item := range list {
		c, ok := item.(map[string]any)
		if !ok || c["type"] != name {
			continue
		}
		status, _ = c["status"].(string)
		reason, _ := c["reason"].(string)
		message, _ := c["message"].(string)
		seen, _ := c["observedGeneration"].(int64)
		return status, strings.TrimSuffix(reason+": "+message, ": "), seen >= generation
	}
	return "", name + " is not set yet", false
}

// await asks until the answer is yes. detail says what is missing; it is shown when it changes and
// in the error when time is up.
func await(ctx context.Context, say *speaker, limit time.Duration, ask func(context.Context) (done bool, detail string, err error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	last := ""
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		done, detail, err := ask(ctx)
		if err == nil && done {
			return nil
		}
		if err != nil && ctx.Err() == nil {
			detail = err.Error()
		}
		if detail != last && detail != "" && ctx.Err() == nil {
			say.now("waiting: %s", detail)
			last = detail
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return fmt.Errorf("not done after %s: %s", limit, last)
			}
			return ctx.Err()
		case <-tick.C:
		}
	}
}

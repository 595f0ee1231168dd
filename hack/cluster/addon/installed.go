// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package addon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// note remembers what was installed.
func note(c Cluster, a Addon, manifests []byte) error {
	if err := os.MkdirAll(c.Records, 0o755); err != nil {
		return fmt.Errorf("make folder of records: %w", err)
	}
	if err := os.WriteFile(filepath.Join(c.Records, a.Name), []byte(sum(manifests)), 0o644); err != nil {
		return fmt.Errorf("note that %s is installed: %w", a.Name, err)
	}
	return nil
}

// installed tells whether these very manifests were applied, and what they
// made is there and works. It asks the cluster a few questions instead of
// applying again, which takes seconds for hundreds of kilobytes of definitions.
func installed(ctx context.Context, c Cluster, a Addon, manifests []byte) bool {
	noted, err := os.ReadFile(filepath.Join(c.Records, a.Name))
	if err != nil || string(noted) != sum(manifests) {
		return false
	}
	config, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig)
	if err != nil {
		return false
	}
	config.Timeout = 5 * time.Second
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return false
	}
	for _, d := range a.deployments {
		namespace, name, _ := strings.Cut(d, "/")
		found, err := client.AppsV1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil || found.Status.AvailableReplicas == 0 || found.Status.ObservedGeneration < found.Generation {
			return false
		}
	}
	for _, d := range a.definitions {
		path := "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/" + d
		if client.Discovery().RESTClient().Get().AbsPath(path).Do(ctx).Error() != nil {
			return false
		}
	}
	return a.works == nil || a.works(ctx, c) == nil
}

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/controllers"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/testing/apiserver"
)

// The server and an administrator's client, for all tests of the package, set once by TestMain.
var (
	server *apiserver.Server
	admin  client.WithWatch
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctrl.SetLogger(logr.FromSlogHandler(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	ctx := context.Background()
	s, err := apiserver.Start(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "start API server:", err)
		return 1
	}
	defer s.Stop()
	server = s
	scheme, err := controllers.Scheme()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if admin, err = client.NewWithWatch(s.Config, client.Options{Scheme: scheme}); err != nil {
		fmt.Fprintln(os.Stderr, "make client:", err)
		return 1
	}
	if err := applyFiles(ctx, manifests("config/manager/namespace.yaml", "config/crd/bases", "config/rbac", "config/webhook")...); err != nil {
		fmt.Fprintln(os.Stderr, "install:", err)
		return 1
	}
	// The operators of the tests have images of their own.
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: names.ImagesRole}}
	images := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"tulle.dev/image":"tulle.test/tulle:1","tulle.dev/proxy-image":"tulle.test/proxy:1"}}}`))
	if err := admin.Patch(ctx, role, images); err != nil {
		fmt.Fprintln(os.Stderr, "name the images:", err)
		return 1
	}
	if err := waitForKind(ctx, "tulle.dev/v1alpha1", "Mesh"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// manifests finds files and folders of the repository.
func manifests(paths ...string) []string {
	var out []string
	for _, p := range paths {
		p = filepath.Join("..", "..", p)
		if filepath.Ext(p) == "" {
			found, err := filepath.Glob(filepath.Join(p, "*.yaml"))
			if err != nil {
				panic(err)
			}
			out = append(out, found...)
			continue
		}
		out = append(out, p)
	}
	return out
}

// moduleFiles finds files in a module that this one depends on.
func moduleFiles(module, folder string) ([]string, error) {
	cmd := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module)
	dir, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("find module %s: %w", module, err)
	}
	return filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), folder, "*.yaml"))
}

// applyFiles applies every object of YAML files, but for kustomization files.
func applyFiles(ctx context.Context, files ...string) error {
	if len(files) == 0 {
		return errors.New("no files to apply")
	}
	for _, f := range files {
		objects, err := readFile(f)
		if err != nil {
			return err
		}
		for _, o := range objects {
			if err := admin.Apply(ctx, client.ApplyConfigurationFromUnstructured(o), client.FieldOwner("test"), client.ForceOwnership); err != nil {
				return fmt.Errorf("apply %s of %s: %w", o.GetName(), f, err)
			}
		}
	}
	return nil
}

func readFile(path string) ([]*unstructured.Unstructured, error) {
	if strings.HasPrefix(filepath.Base(path), "kustomization") {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var out []*unstructured.Unstructured
	d := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		o := &unstructured.Unstructured{}
		if err := d.Decode(&o.Object); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		if len(o.Object) > 0 && o.GetKind() != "Kustomization" {
			unstructured.RemoveNestedField(o.Object, "status")
			out = append(out, o)
		}
	}
}

// as is the configuration of somebody else.
func as(user string, groups ...string) *rest.Config {
	c := rest.CopyConfig(server.Config)
	c.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: append(groups, "system:authenticated")}
	return c
}

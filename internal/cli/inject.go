// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cli

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/cli/cluster"
	"tulle.dev/tulle/internal/cli/facts"
	"tulle.dev/tulle/internal/cli/render"
	"tulle.dev/tulle/internal/controlplane/inject"
	"tulle.dev/tulle/internal/names"
)

type injectFlags struct {
	file, meshFile, image, secretFile string
}

func newInject(g *global) *cobra.Command {
	var f injectFlags
	cmd := &cobra.Command{
		Use:   "inject -f FILE",
		Short: "Show what the injection webhook would do to the pods in a file",
		Long: `Show what the injection webhook would do to the pods in a file, and why.

The file is printed with its pods injected; all else is printed as it was. What happened
to each pod is reported on standard error (with -o json, on standard output instead of
the file). Nothing is applied. Settings and the labels of namespaces come from the cluster. With --mesh no
cluster is needed: settings come from that file, and namespaces that are not in the
input are taken to ask for injection.

The paths of moved probes contain a random token, so that no client that cannot read the
pod can use them. What is injected already keeps its token. To get the same output from
the same input each time, give a file with a secret of your own with --probe-secret: the
tokens are derived from it. Keep the output and the secret private.

The exit code is 1 when a pod would be refused, or when a part of the file cannot be read.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runInject(cmd.Context(), g, f) },
	}
	cmd.Flags().StringVarP(&f.file, "filename", "f", "", "YAML file; - is standard input")
	cmd.Flags().StringVar(&f.meshFile, "mesh", "", "file with a Mesh, instead of asking a cluster")
	cmd.Flags().StringVar(&f.image, "image", "", "image of the proxy; default what the cluster's control plane uses")
	cmd.Flags().StringVar(&f.secretFile, "probe-secret", "", "file with a secret of at least 16 bytes, from which the tokens in the paths of probes are derived; if empty, they are random")
	_ = cmd.MarkFlagRequired("filename")
	return cmd
}

func runInject(ctx context.Context, g *global, f injectFlags) error {
	in, err := readFile(g.streams.In, f.file)
	if err != nil {
		return err
	}
	o, err := injectOptions(ctx, g, f)
	if err != nil {
		return err
	}
	if o.ProbeToken, err = probeTokens(f.secretFile); err != nil {
		return err
	}
	out, notes := render.File(in, o)
	if g.output == outputJSON {
		if err := printJSON(g.streams.Out, notes); err != nil {
			return err
		}
	} else {
		if _, err := g.streams.documents.Write(out); err != nil {
			return err
		}
		printNotes(g.streams.Err, notes)
	}
	for _, n := range notes {
		if n.Refused != "" || n.Problem != "" {
			return errFound
		}
	}
	return nil
}

// probeTokens derives a token for each object from the secret in a file. If the name is empty, it returns
// nil, which means random tokens.
func probeTokens(name string) (func(object string) string, error) {
	if name == "" {
		return nil, nil
	}
	secret, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	if secret = bytes.TrimSpace(secret); len(secret) < 16 {
		return nil, fmt.Errorf("%s: the secret for the paths of probes has %d bytes; use at least 16 random ones, such as the output of 'openssl rand -hex 16'", name, len(secret))
	}
	return func(object string) string {
		h := hmac.New(sha256.New, secret)
		h.Write([]byte(object)) // never returns an error
		return hex.EncodeToString(h.Sum(nil)[:16])
	}, nil
}

func readFile(in io.Reader, name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(in)
	}
	return os.ReadFile(name)
}

func printNotes(w io.Writer, notes []render.Note) {
	for _, n := range notes {
		switch {
		case n.Problem != "":
			printf(w, "%s: printed as it is: %s\n", n.Object, n.Problem)
		case n.Refused != "":
			printf(w, "%s: REFUSED: %s\n", n.Object, n.Refused)
		case n.Removed:
			printf(w, "%s: proxy removed\n", n.Object)
		case n.Injected:
			printf(w, "%s: injected\n", n.Object)
		default:
			printf(w, "%s: not injected\n", n.Object)
		}
		for _, warning := range n.Warnings {
			printf(w, "%s: warning: %s\n", n.Object, warning)
		}
	}
}

// injectOptions are those of the cluster, or of the Mesh in a file.
func injectOptions(ctx context.Context, g *global, f injectFlags) (render.Options, error) {
	if f.meshFile != "" {
		return offlineOptions(g, f)
	}
	c, err := cluster.Connect(g.cluster)
	if err != nil {
		return render.Options{}, fmt.Errorf("%w (with --mesh FILE no cluster is needed)", err)
	}
	meshes, err := c.Meshes(ctx)
	if err != nil && !cluster.IsNotFound(err) { // not found: not even the kind
		return render.Options{}, fmt.Errorf("list Meshes: %w", err)
	}
	mesh, there := facts.Facts{Meshes: meshes}.ActiveMesh()
	if !there {
		return render.Options{}, fmt.Errorf("there is no Mesh in the cluster (with --mesh FILE none is needed)")
	}
	if f.image == "" {
		if f.image, err = c.ProxyImage(ctx); err != nil {
			return render.Options{}, fmt.Errorf("find the proxy's image (or name it with --image): %w", err)
		}
	}
	s, err := settings(&mesh, f.image, c.System(ctx))
	return render.Options{
		Settings: s, Namespace: c.Namespace,
		Labels: func(ns string) (map[string]string, error) { return c.NamespaceLabels(ctx, ns) },
	}, err
}

func offlineOptions(g *global, f injectFlags) (render.Options, error) {
	body, err := os.ReadFile(f.meshFile)
	if err != nil {
		return render.Options{}, err
	}
	var mesh v1alpha1.Mesh
	if err := yaml.UnmarshalStrict(body, &mesh); err != nil {
		return render.Options{}, fmt.Errorf("read %s: %w", f.meshFile, err)
	}
	if mesh.Spec.TrustDomain == "" {
		mesh.Spec.TrustDomain = "cluster.local" // the CRD's default, which no API server has filled in
	}
	if f.image == "" {
		f.image = "tulle-proxy:" + mesh.Spec.Version
	}
	namespace := g.cluster.Namespace
	if namespace == "" {
		namespace = "default"
	}
	s, err := settings(&mesh, f.image, cmp.Or(g.cluster.SystemNamespace, names.SystemNamespace))
	return render.Options{
		Settings: s, Namespace: namespace,
		Labels: func(string) (map[string]string, error) {
			return map[string]string{names.LabelInject: names.InjectEnabled}, nil
		},
	}, err
}

func settings(mesh *v1alpha1.Mesh, image, system string) (inject.Settings, error) {
	version := mesh.Status.Version
	if version == "" {
		version = mesh.Spec.Version
	}
	return inject.SettingsFrom(mesh, image, version, names.RevisionOf(version), system)
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package backup

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// What a backup says of itself. They are no kind of the API server's.
const (
	APIVersion = "backup.tulle.dev/v1"
	Kind       = "MeshBackup"
)

// File is a backup. Fields are only ever added as long as APIVersion is the same.
type File struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Created is when, to the second, and Tulle the release of the command that made it.
	Created time.Time `json:"created"`
	Tulle   string    `json:"tulle"`
	// Mesh and TrustDomain are those of the Mesh in it.
	Mesh        string `json:"mesh"`
	TrustDomain string `json:"trustDomain"`
	// Keys tells whether private keys are in it.
	Keys bool `json:"keys"`
	// Roots are those that proxies trusted.
	Roots []Root `json:"roots"`
	// Objects are manifests, in the order in which they are put back.
	Objects []unstructured.Unstructured `json:"-"`
}

// Root is a root certificate, for people.
type Root struct {
	// SHA256 of the certificate in hex, as in the Mesh's status.
	SHA256   string    `json:"sha256"`
	NotAfter time.Time `json:"notAfter"`
	// InUse: the mesh's certificates hung from it.
	InUse bool `json:"inUse"`
}

// objects is the second half of the file, which comes last because it is long.
type objects struct {
	Objects []map[string]any `json:"objects"`
}

// Write writes the file as YAML, with a few lines for whoever finds it.
func (f File) Write(w io.Writer) error {
	head, err := yaml.Marshal(f)
	if err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	var all objects
	for _, o := range f.Objects {
		all.Objects = append(all.Objects, o.Object)
	}
	rest, err := yaml.Marshal(all)
	if err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "# A backup of Mesh %s, trust domain %s. Put it back with: tulle restore -f FILE\n", f.Mesh, f.TrustDomain)
	if f.Keys {
		b.WriteString("# IT HOLDS PRIVATE KEYS: whoever has this file can speak for every workload of the mesh.\n")
	} else {
		b.WriteString("# It holds no private keys, so it can't bring back a root that Tulle made.\n")
	}
	b.Write(head)
	b.Write(rest)
	_, err = w.Write(b.Bytes())
	return err
}

// Parse reads what Write wrote. The error says what to do about it.
func Parse(data []byte) (File, error) {
	var f File
	var kind struct{ APIVersion, Kind string }
	if err := yaml.Unmarshal(data, &kind); err != nil {
		return f, fmt.Errorf("this is no backup, for it is no YAML: %w", err)
	}
	if kind.Kind != Kind {
		return f, fmt.Errorf("this is no backup: its kind is %q and not %s; give the file that tulle backup wrote", kind.Kind, Kind)
	}
	if kind.APIVersion != APIVersion {
		return f, fmt.Errorf("this backup is of format %q, and this command reads %s: restore it with the tulle that made it%s", kind.APIVersion, APIVersion, madeBy(data))
	}
	var both struct {
		File    `json:",inline"`
		Objects []map[string]any `json:"objects"`
	}
	if err := yaml.Unmarshal(data, &both); err != nil {
		return f, fmt.Errorf("this backup is damaged: %w", err)
	}
	f = both.File
	for i, o := range both.Objects {
		u := unstructured.Unstructured{Object: o}
		if !slices.ContainsFunc(kept(), func(k key) bool { return k.is(u) }) {
			return f, fmt.Errorf("object %d of this backup is %s %s, which no backup has: take it out of the file and apply it by itself if you want it", i+1, orNone(u.GetKind()), orNone(u.GetName()))
		}
		f.Objects = append(f.Objects, u)
	}
	return f, nil
}

func madeBy(data []byte) string {
	var by struct{ Tulle any }
	if err := yaml.Unmarshal(data, &by); err != nil || by.Tulle == nil {
		return ""
	}
	return fmt.Sprintf(", which is %v", by.Tulle)
}

func orNone(s string) string {
	if strings.TrimSpace(s) == "" {
		return "(none)"
	}
	return s
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cli

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/duration"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/cli/cluster"
	"tulle.dev/tulle/internal/names"
)

func newCA(g *global) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ca",
		Short: "Change the root of the mesh's certificates, and see how that goes",
	}
	cmd.AddCommand(newCAStatus(g), newCARotate(g))
	return cmd
}

func newCAStatus(g *global) *cobra.Command {
	watch := false
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the roots, and how the latest change of them goes, or went",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := cluster.Connect(g.cluster)
			if err != nil {
				return err
			}
			m, err := c.ActiveMesh(cmd.Context())
			if err != nil {
				return err
			}
			if watch {
				return watchRotation(cmd, g, c)
			}
			return showRoots(g, caViewOf(m))
		},
	}
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "go on until the root is not being changed any more")
	return cmd
}

func newCARotate(g *global) *cobra.Command {
	var wait, abort bool
	var without []string
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Have the operator replace the self-made root, while the mesh carries traffic",
		Long: `Have the operator replace the self-made root, while the mesh carries traffic.

The new root is spread to every proxy before anything is signed below it, and the old
one goes when no certificate in use hangs from it. Until then --abort turns it back.
A root of your own issuer is changed by naming another issuer in
spec.certificates.issuerRef.

A proxy that does not accept the new root, or does not renew its certificate, is waited
for as long as a workload's certificate is valid. --without NAMESPACE/POD does not wait
for a pod, and --without 'NAMESPACE/*' for no pod of a namespace, also in a change that is
under way. Such a pod loses its connections to other proxies until it takes the new root.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := cluster.Connect(g.cluster)
			if err != nil {
				return err
			}
			m, err := c.ActiveMesh(cmd.Context())
			if err != nil {
				return err
			}
			change, says, err := rotation(m, abort, without, time.Now())
			if err != nil {
				return err
			}
			if err := c.AnnotateMesh(cmd.Context(), m, change); err != nil {
				return err
			}
			if g.output != outputJSON {
				printf(g.streams.Out, "%s\n", says)
			}
			if !wait {
				return nil
			}
			return watchRotation(cmd, g, c)
		},
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "show the progress until it has ended")
	cmd.Flags().BoolVar(&abort, "abort", false, "call the change off that is under way")
	cmd.Flags().StringSliceVar(&without, "without", nil, "a pod that is not waited for, NAMESPACE/POD, or all of a namespace, 'NAMESPACE/*'; can be given several times")
	return cmd
}

// rotation is the change of the Mesh's annotations (nil: taken away) and what to say, or why nothing can be
// done. A change of the root that begins waits for every pod but those in without; in one that is under way
// these are added to the others.
func rotation(m v1alpha1.Mesh, abort bool, without []string, now time.Time) (change map[string]any, says string, err error) {
	for _, pod := range without {
		if namespace, name, ok := strings.Cut(pod, "/"); !ok || namespace == "" || name == "" || strings.ContainsAny(pod, ", ") || strings.Contains(name, "/") {
			return nil, "", fmt.Errorf("--without %q: expected NAMESPACE/POD or NAMESPACE/*", pod)
		}
	}
	if len(without) > 0 && abort {
		return nil, "", errors.New("--abort and --without exclude each other")
	}
	if st := m.Status.Certificates; len(without) > 0 && st.Active() {
		all := slices.Concat(without, strings.FieldsFunc(m.Annotations[names.AnnotationRotateWithout], func(r rune) bool { return r == ',' }))
		slices.Sort(all)
		return map[string]any{names.AnnotationRotateWithout: strings.Join(slices.Compact(all), ",")},
			"The change of the root no longer waits for " + strings.Join(without, ", ") + "; see it continue with: tulle ca status --watch", nil
	}
	value, says, err := request(m, abort, now)
	if err != nil {
		return nil, "", err
	}
	change = map[string]any{names.AnnotationRotateRoot: nil, names.AnnotationRotateWithout: nil}
	if value != "" {
		change[names.AnnotationRotateRoot] = value
	}
	if len(without) > 0 {
		change[names.AnnotationRotateWithout] = strings.Join(without, ",")
	}
	return change, says, nil
}

// request is the new value of the annotation that asks for another root (empty: none) and what to say, or why
// nothing can be done.
func request(m v1alpha1.Mesh, abort bool, now time.Time) (value, says string, err error) {
	st := m.Status.Certificates
	pending := m.Annotations[names.AnnotationRotateRoot]
	if abort {
		switch {
		case pending != "" && (st == nil || st.Request != pending):
			return "", "It is called off before it began.", nil
		case !st.Active():
			return "", "", fmt.Errorf("the root is not being changed")
		case st.Trigger != v1alpha1.TriggerRequested:
			return "", "", fmt.Errorf("the root is being changed for another reason than a request (%s), which this can't take back", st.Trigger)
		case st.Phase == v1alpha1.RotationRetiring:
			return "", "", fmt.Errorf("it is too late: the old root is being retired")
		}
		return "", "It is called off; see it go back with: tulle ca status --watch", nil
	}
	switch ref := m.Spec.Certificates.IssuerRef; {
	case ref != nil:
		return "", "", fmt.Errorf("the root belongs to %s %s: change it there, or name another issuer in spec.certificates.issuerRef", ref.Kind, ref.Name)
	case st.Active():
		return "", "", fmt.Errorf("the root is being changed already: tulle ca status --watch")
	}
	return now.UTC().Format(time.RFC3339), "A new root is asked for; see it come with: tulle ca status --watch", nil
}

// caView is what "tulle ca status -o json" prints.
type caView struct {
	Mesh  string                       `json:"mesh"`
	Roots []v1alpha1.RootStatus        `json:"roots"`
	Last  *v1alpha1.CertificatesStatus `json:"change,omitempty"`
	// Pending: one was asked for that the operator has not looked at.
	Pending bool `json:"pending"`
}

func caViewOf(m v1alpha1.Mesh) caView {
	v := caView{Mesh: m.Name, Roots: m.Status.Roots, Last: m.Status.Certificates}
	if asked := m.Annotations[names.AnnotationRotateRoot]; asked != "" {
		v.Pending = v.Last == nil || v.Last.Request != asked
	}
	return v
}

func (v caView) ended() bool { return !v.Pending && !v.Last.Active() }

// watchRotation shows every change until there is nothing under way.
func watchRotation(cmd *cobra.Command, g *global, c *cluster.Cluster) error {
	var last *caView
	for {
		m, err := c.ActiveMesh(cmd.Context())
		if err != nil {
			return err
		}
		now := caViewOf(m)
		if last == nil || !equality.Semantic.DeepEqual(*last, now) {
			if last != nil && g.output != outputJSON {
				fmt.Fprintln(g.streams.Out)
			}
			if err := showRoots(g, now); err != nil {
				return err
			}
			last = &now
		}
		if now.ended() {
			if now.Last != nil && now.Last.Phase == v1alpha1.RotationRefused {
				return errFound
			}
			return nil
		}
		if err := pause(cmd.Context(), watchEvery); err != nil {
			return err
		}
	}
}

func showRoots(g *global, v caView) error {
	if g.output == outputJSON {
		return printJSON(g.streams.Out, v)
	}
	return printRoots(g.streams.Out, v, time.Now())
}

func printRoots(w io.Writer, v caView, now time.Time) error {
	t := newTable(w, "ROOT", "IN USE", "ENDS")
	for _, r := range v.Roots {
		use := "no"
		if r.Active {
			use = "yes"
		}
		t.row(short(r.SHA256), use, r.NotAfter.UTC().Format(time.DateOnly))
	}
	if err := t.Flush(); err != nil || v.Last == nil {
		return err
	}
	fmt.Fprintln(w)
	t = newTable(w, "CHANGE", "PHASE", "SINCE", "OLD ROOT", "NEW ROOT", "PROXIES")
	proxies := "-"
	if v.Last.Proxies > 0 {
		proxies = strconv.Itoa(int(v.Last.Done)) + "/" + strconv.Itoa(int(v.Last.Proxies))
	}
	t.row(string(v.Last.Trigger), string(v.Last.Phase), duration.HumanDuration(now.Sub(v.Last.Since.Time)), orDash(short(v.Last.OldRoot)), orDash(short(v.Last.NewRoot)), proxies)
	if err := t.Flush(); err != nil {
		return err
	}
	if v.Last.Message != "" {
		printf(w, "%s\n", v.Last.Message)
	}
	return nil
}

// short is enough of a fingerprint for people.
func short(id string) string { return id[:min(len(id), 12)] }

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cli

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/cli/cluster"
	"tulle.dev/tulle/internal/lifecycle/release"
	"tulle.dev/tulle/internal/lifecycle/upgrade"
)

// podsShown is how many pods of a wave the table names.
const podsShown = 4

func newUpgradePlan(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "plan [VERSION]",
		Short: "Show in which waves an upgrade replaces the proxies, and which it leaves out",
		Long: `Show in which waves an upgrade replaces the proxies, and which it leaves out, by
the Mesh and the pods as they are now. VERSION is the release; default the one that
the Mesh asks for or, if it has that, the newest that may follow. Nothing is changed.

The exit code is 1 when something in the plan has to be corrected first.`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeReleases,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := cluster.Connect(g.cluster)
			if err != nil {
				return err
			}
			m, err := c.ActiveMesh(cmd.Context())
			if err != nil {
				return err
			}
			to, err := target(m, args, release.Known("", ""))
			if err != nil {
				return err
			}
			pods, err := c.UpgradePods(cmd.Context())
			if err != nil {
				return err
			}
			v := planOf(m, to, pods)
			if g.output == outputJSON {
				err = printJSON(g.streams.Out, v)
			} else {
				err = printPlan(g.streams.Out, v)
			}
			if err == nil && v.Problem != "" {
				return errFound
			}
			return err
		},
	}
}

// target is the release that is meant.
func target(m v1alpha1.Mesh, args []string, known release.Catalog) (string, error) {
	serving := m.Status.Version
	if len(args) > 0 {
		if serving != "" && serving != args[0] {
			return args[0], known.Allowed(serving, args[0])
		}
		return args[0], nil
	}
	if serving == "" || m.Spec.Version != serving {
		return m.Spec.Version, nil
	}
	for _, r := range slices.Backward(known) {
		if r.Version == serving {
			break
		}
		if known.Allowed(serving, r.Version) == nil {
			return r.Version, nil
		}
	}
	return "", fmt.Errorf("the mesh runs %s, and this command knows no newer release that may follow; name one", serving)
}

// planView is what "tulle upgrade plan -o json" prints.
type planView struct {
	From string `json:"from"`
	To   string `json:"to"`
	// MaxUnavailable proxies are replaced at once; Soak is how long each wave is watched.
	MaxUnavailable string     `json:"maxUnavailable"`
	Soak           string     `json:"soak"`
	Windows        int        `json:"windows"`
	Waves          []planWave `json:"waves"`
	LeftOut        []planPod  `json:"leftOut"`
	// Problem is what has to be corrected before this can be done.
	Problem string `json:"problem,omitempty"`
}

type planWave struct {
	// Pods as NAMESPACE/NAME; Done of them run the release already.
	Pods []string `json:"pods"`
	Done int      `json:"done"`
}

type planPod struct {
	Pod string `json:"pod"`
	Why string `json:"why"`
}

func planOf(m v1alpha1.Mesh, to string, pods []upgrade.Pod) planView {
	spec := m.Spec.Upgrade
	v := planView{From: m.Status.Version, To: to, Soak: spec.Soak.Duration.String(), Windows: len(spec.Windows), Waves: []planWave{}, LeftOut: []planPod{}}
	if spec.MaxUnavailable != nil {
		v.MaxUnavailable = spec.MaxUnavailable.String()
	}
	waves, problem := upgrade.Waves(spec.Waves, pods)
	v.Problem = problem
	for _, w := range waves {
		one := planWave{Pods: []string{}}
		for _, p := range w {
			if p.LeftOut() != "" { // it can't be replaced in place; its wave goes on without it
				continue
			}
			one.Pods = append(one.Pods, p.Namespace+"/"+p.Name)
			if p.Version() == to {
				one.Done++
			}
		}
		v.Waves = append(v.Waves, one)
	}
	for _, p := range pods {
		if why := p.LeftOut(); why != "" {
			v.LeftOut = append(v.LeftOut, planPod{Pod: p.Namespace + "/" + p.Name, Why: why})
		}
	}
	slices.SortFunc(v.LeftOut, func(a, b planPod) int { return cmp.Or(cmp.Compare(a.Why, b.Why), cmp.Compare(a.Pod, b.Pod)) })
	return v
}

func printPlan(w io.Writer, v planView) error {
	total := 0
	for _, wave := range v.Waves {
		total += len(wave.Pods)
	}
	printf(w, "From %s to %s: %d proxies in %d waves", orDash(v.From), v.To, total, len(v.Waves))
	if v.MaxUnavailable != "" {
		printf(w, ", at most %s at once", v.MaxUnavailable)
	}
	printf(w, "; each wave is watched for %s.\n", v.Soak)
	if v.Windows > 0 {
		fmt.Fprintln(w, "Proxies are replaced in the windows of spec.upgrade.windows only.")
	}
	if v.Problem != "" {
		printf(w, "\nTo be corrected first: %s\n", v.Problem)
	}
	if len(v.Waves) > 0 {
		fmt.Fprintln(w)
		t := newTable(w, "WAVE", "PODS", "DONE", "WHICH")
		for i, wave := range v.Waves {
			t.row(strconv.Itoa(i+1), strconv.Itoa(len(wave.Pods)), strconv.Itoa(wave.Done), some(wave.Pods))
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	if len(v.LeftOut) > 0 {
		fmt.Fprintln(w, "\nLeft out:")
		for _, p := range v.LeftOut {
			printf(w, "  %s: %s\n", p.Pod, p.Why)
		}
	}
	return nil
}

func some(pods []string) string {
	if len(pods) <= podsShown {
		return strings.Join(pods, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(pods[:podsShown], ", "), len(pods)-podsShown)
}

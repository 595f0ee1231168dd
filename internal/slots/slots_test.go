// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package slots

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

func sidecar() Spec {
	return Spec{
		Image: "registry.example/tulle-proxy:0.1.0", Kind: names.KindSidecar,
		TrustDomain: "example.org", ControlPlaneHost: ControlPlaneHost("tulle-controlplane", "tulle-system"),
		Probes: protocol.Probes{"/probe/app/liveness": {HTTP: &protocol.HTTPProbe{Port: 80, Path: "/$(HOME)"}}},
	}
}

// TestSlotsDifferInNothingElse: either slot can take over from the other, because nothing but the
// name and TULLE_SLOT tells them apart.
func TestSlotsDifferInNothingElse(t *testing.T) {
	c := Containers(sidecar())
	if len(c) != 2 || c[0].Name != names.ContainerSlotA || c[1].Name != names.ContainerSlotB {
		t.Fatalf("want slots a and b, got %d: %v", len(c), c)
	}
	if c[0].Env[0].Value != "a" || c[1].Env[0].Value != "b" || c[0].Env[0].Name != protocol.EnvSlot {
		t.Errorf("TULLE_SLOT: %v, %v", c[0].Env[0], c[1].Env[0])
	}
	b := *c[1].DeepCopy()
	b.Name, b.Env[0].Value = c[0].Name, "a"
	if d := cmp.Diff(c[0], b); d != "" {
		t.Error(d)
	}
}

// TestMountsHaveVolumes: each mount names a volume of the pod, and none is writable but the run directory.
func TestMountsHaveVolumes(t *testing.T) {
	s := sidecar()
	have := map[string]bool{}
	for _, v := range Volumes(s) {
		have[v.Name] = true
	}
	for _, c := range append(InitContainers(s), Hold(s)) {
		for _, m := range c.VolumeMounts {
			if !have[m.Name] {
				t.Errorf("container %s mounts %s, which is no volume", c.Name, m.Name)
			}
			if !m.ReadOnly && m.Name != names.VolumeRun {
				t.Errorf("container %s may write to %s", c.Name, m.Name)
			}
		}
	}
}

// TestNoProbeOnSlots: a probe on a slot makes the pod NotReady while it stands by (DESIGN: tried on 1.36).
func TestNoProbeOnSlots(t *testing.T) {
	for _, c := range Containers(sidecar()) {
		if c.StartupProbe != nil || c.ReadinessProbe != nil || c.LivenessProbe != nil {
			t.Errorf("%s has a probe", c.Name)
		}
		if c.RestartPolicy == nil || *c.RestartPolicy != corev1.ContainerRestartPolicyAlways {
			t.Errorf("%s is no sidecar", c.Name)
		}
	}
}

// TestNoHookHoldsThePod: while a postStart hook runs the kubelet does not begin to delete the pod, and
// does not report its address. The application waits in an ordinary init container after both slots, which
// has no probe and, in the hands of the kubelet, ends at once.
func TestNoHookHoldsThePod(t *testing.T) {
	s := sidecar()
	for _, single := range []bool{false, true} {
		for _, kind := range []string{names.KindSidecar, names.KindGateway} {
			s.Kind, s.Single = kind, single
			for _, c := range Containers(s) {
				if c.Lifecycle.PostStart != nil {
					t.Errorf("%s of a %s has a postStart hook", c.Name, kind)
				}
				if c.Lifecycle.PreStop == nil {
					t.Errorf("%s of a %s does not drain", c.Name, kind)
				}
			}
		}
		all := InitContainers(s)
		if last := all[len(all)-1]; last.Name != names.ContainerWait || last.RestartPolicy != nil || last.Lifecycle != nil || all[0].Name != names.ContainerInit {
			t.Errorf("the last init container is %+v", last)
		}
	}
}

// TestWaitHasTheClass: the container that waits does not take a pod's class away.
func TestWaitHasTheClass(t *testing.T) {
	s := sidecar()
	s.Resources = corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1"), corev1.ResourceMemory: resource.MustParse("1Gi")},
		Limits:   corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1"), corev1.ResourceMemory: resource.MustParse("1Gi")},
	}
	if r := Wait(s).Resources; len(r.Limits) != 2 || r.Requests.Cpu().Cmp(*r.Limits.Cpu()) != 0 || r.Requests.Memory().Cmp(*r.Limits.Memory()) != 0 {
		t.Errorf("%+v", r)
	}
	s.Resources = corev1.ResourceRequirements{}
	if r := Wait(s).Resources; !r.Limits.Cpu().IsZero() || r.Requests.Memory().Cmp(resource.MustParse("8Mi")) != 0 {
		t.Errorf("%+v", r)
	}
}

// TestOnlyInitIsPrivileged: every container drops all capabilities, and init alone adds NET_ADMIN back.
func TestOnlyInitIsPrivileged(t *testing.T) {
	s := sidecar()
	for _, c := range append(InitContainers(s), Hold(s)) {
		sc := c.SecurityContext
		isInit := c.Name == names.ContainerInit
		if want := isInit; (*sc.RunAsUser == 0) != want || *sc.RunAsNonRoot == want || (len(sc.Capabilities.Add) > 0) != want {
			t.Errorf("%s: %+v", c.Name, sc)
		}
		if !*sc.ReadOnlyRootFilesystem || *sc.AllowPrivilegeEscalation || sc.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault ||
			len(sc.Capabilities.Drop) != 1 || sc.Capabilities.Drop[0] != "ALL" {
			t.Errorf("%s is not restricted: %+v", c.Name, sc)
		}
	}
}

// TestEnvSurvivesTheKubelet: the kubelet expands $(NAME) in values; what the agent reads must be the probe as recorded.
func TestEnvSurvivesTheKubelet(t *testing.T) {
	s := sidecar()
	for _, e := range Containers(s)[0].Env {
		if e.Name != protocol.EnvProbes {
			continue
		}
		var got protocol.Probes
		if err := json.Unmarshal([]byte(strings.ReplaceAll(e.Value, "$$", "$")), &got); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(s.Probes, got); d != "" {
			t.Error(d)
		}
		if strings.Contains(strings.ReplaceAll(e.Value, "$$", ""), "$(") {
			t.Errorf("the kubelet would expand %s", e.Value)
		}
		return
	}
	t.Errorf("no %s", protocol.EnvProbes)
}

// TestResources: the two slots together ask for what the user wrote, unless it is Guaranteed.
func TestResources(t *testing.T) {
	q := resource.MustParse
	rr := func(cpu, mem, cpuLimit, memLimit string) corev1.ResourceRequirements {
		r := corev1.ResourceRequirements{Requests: corev1.ResourceList{}, Limits: corev1.ResourceList{}}
		for _, x := range []struct {
			l corev1.ResourceList
			n corev1.ResourceName
			v string
		}{
			{r.Requests, corev1.ResourceCPU, cpu},
			{r.Requests, corev1.ResourceMemory, mem},
			{r.Limits, corev1.ResourceCPU, cpuLimit},
			{r.Limits, corev1.ResourceMemory, memLimit},
		} {
			if x.v != "" {
				x.l[x.n] = q(x.v)
			}
		}
		return r
	}
	for name, c := range map[string]struct{ in, want corev1.ResourceRequirements }{
		"halved":     {rr("100m", "128Mi", "", "1Gi"), rr("50m", "64Mi", "", "1Gi")},
		"odd":        {rr("1m", "3", "", ""), rr("1m", "2", "", "")},
		"guaranteed": {rr("1", "1Gi", "1", "1Gi"), rr("1", "1Gi", "1", "1Gi")},
		"limit only": {rr("", "", "1", ""), rr("1", "", "1", "")},
		"default":    {corev1.ResourceRequirements{}, rr("25m", "48Mi", "", "1Gi")},
	} {
		t.Run(name, func(t *testing.T) {
			got := slotResources(c.in, half)
			for _, pair := range [][2]corev1.ResourceList{{got.Requests, c.want.Requests}, {got.Limits, c.want.Limits}} {
				if len(pair[0]) != len(pair[1]) {
					t.Errorf("got %v, want %v", pair[0], pair[1])
				}
				for n, w := range pair[1] {
					if g := pair[0][n]; g.Cmp(w) != 0 {
						t.Errorf("%s: got %s, want %s", n, g.String(), w.String())
					}
				}
			}
		})
	}
}

// TestResizable: together the slots ask for what the user wrote, the idle one for little, and never for
// more than the other; a Guaranteed proxy stays so.
func TestResizable(t *testing.T) {
	for _, c := range []struct{ cpu, memory, limit, a, b string }{
		{"50m", "96Mi", "1Gi", "38m 80Mi", "12m 16Mi"},
		{"2", "4Gi", "8Gi", "1500m 4080Mi", "500m 16Mi"},
		{"6m", "20Mi", "1Gi", "5m 10Mi", "1m 10Mi"},
		{"50m", "1Gi", "1Gi", "38m 1Gi", "12m 1Gi"},
	} {
		s := sidecar()
		s.Resizable = true
		s.Resources = corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(c.cpu), corev1.ResourceMemory: resource.MustParse(c.memory)},
			Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(c.limit)},
		}
		for i, want := range []string{c.a, c.b} {
			r := Containers(s)[i].Resources
			if got := r.Requests.Cpu().String() + " " + r.Requests.Memory().String(); got != want || r.Limits.Memory().String() != c.limit {
				t.Errorf("%s %s: slot %d asks for %s (limit %v), want %s", c.cpu, c.memory, i, got, r.Limits, want)
			}
		}
	}
}

// TestInitFlags: exceptions become flags, and nothing is said when there are none.
func TestInitFlags(t *testing.T) {
	s := sidecar()
	if got := Init(s).Command; len(got) != 2 {
		t.Errorf("got %q", got)
	}
	s.ExcludeInboundPorts, s.ExcludeOutboundPorts, s.ExcludeOutboundIPs = []uint16{1, 2}, []uint16{3}, []string{"192.0.2.0/24", "2001:db8::1"}
	want := []string{
		"/tulle-proxy", "init", "--exclude-inbound-ports=1,2", "--exclude-outbound-ports=3",
		"--exclude-outbound-ips=192.0.2.0/24,2001:db8::1",
	}
	if d := cmp.Diff(want, Init(s).Command); d != "" {
		t.Error(d)
	}
}

// TestSingleSlot: a proxy that is replaced with its pod has one slot, which asks for all of its resources.
func TestSingleSlot(t *testing.T) {
	s := sidecar()
	s.Single = true
	c := Containers(s)
	if len(c) != 1 || c[0].Name != names.ContainerSlotA {
		t.Fatalf("%d containers", len(c))
	}
	want := DefaultResources().Requests[corev1.ResourceMemory]
	if got := c[0].Resources.Requests[corev1.ResourceMemory]; got.Cmp(want) != 0 {
		t.Errorf("asks for %v, want %v", got.String(), want.String())
	}
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/testing/cluster"
)

// TestAttacksOnADS: three meshed pods with valid certificates put load on the ADS port, one kind of load
// after the other. The control plane's memory stays within twice what it was, no replica is restarted, and
// changes still reach other proxies.
func TestAttacksOnADS(t *testing.T) {
	c := cluster.Connect(t)
	ns := c.Namespace(t, "ads-attack", meshed)
	c.Deploy(t, ns, cluster.Echo{Name: "server"})
	c.Ready(t, ns, "server")
	before := controlPlane(t, c)
	for _, attack := range []string{"names", "loop", "metadata", "idle", "unfinished", "reconnect"} {
		for i := range 3 {
			intruder(t, c, ns, attack+"-"+strconv.Itoa(i), "-attack", attack, "-streams", "20", "-for", "30s")
		}
		most := map[string]float64{}
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() { // memory while the attack lasts
			for {
				for name, r := range controlPlane(t, c) {
					most[name] = max(most[name], r.memory)
				}
				select {
				case <-stop:
					return
				case <-time.After(500 * time.Millisecond):
				}
			}
		})
		run := c.Load(t, ns, true, "-url", "http://server/", "-count", "500")
		for i := range 3 {
			t.Logf("%s: %s", attack, intrusion(t, c, ns, attack+"-"+strconv.Itoa(i), 3*time.Minute))
		}
		noFailure(t, run.Wait(t, 2*time.Minute), 500)
		close(stop)
		wg.Wait()
		// A Service that is made now is reached: a change gets through.
		late := "after-" + attack
		c.Deploy(t, ns, cluster.Echo{Name: late})
		c.Ready(t, ns, late)
		noFailure(t, c.Load(t, ns, true, "-url", "http://"+late+"/", "-count", "20").Wait(t, time.Minute), 20)
		after := controlPlane(t, c)
		for name, was := range before {
			now, there := after[name]
			if !there || now.restarts != was.restarts {
				t.Errorf("%s: replica %s was restarted or is gone", attack, name)
			}
			if most[name] > 2*was.memory+32<<20 {
				t.Errorf("%s: replica %s used %.0f MiB, %.0f MiB when idle", attack, name, most[name]/(1<<20), was.memory/(1<<20))
			}
			t.Logf("%s: replica %s: %.0f MiB when idle, %.0f MiB at most", attack, name, was.memory/(1<<20), most[name]/(1<<20))
		}
	}
}

// replica is what is looked at of a replica of the control plane.
type replica struct {
	memory   float64 // resident, in bytes
	restarts int32
}

// controlPlane reads the replicas' memory and restarts, by pod.
func controlPlane(t *testing.T, c *cluster.Cluster) map[string]replica {
	t.Helper()
	var pods corev1.PodList
	if err := c.List(t.Context(), &pods, client.InNamespace(names.SystemNamespace), client.MatchingLabels{names.LabelApp: names.ControlPlaneService}); err != nil {
		t.Error(err)
		return nil
	}
	out := map[string]replica{}
	for _, p := range pods.Items {
		r := replica{}
		for _, s := range p.Status.ContainerStatuses {
			r.restarts += s.RestartCount
		}
		b, err := c.Kube.CoreV1().Pods(p.Namespace).ProxyGet("http", p.Name, strconv.Itoa(names.PortMonitor), "/metrics", nil).DoRaw(t.Context())
		if err == nil { // else it is busy, which is no failure of its own
			for line := range strings.Lines(string(b)) {
				if v, ok := strings.CutPrefix(line, "process_resident_memory_bytes "); ok {
					r.memory, _ = strconv.ParseFloat(strings.TrimSpace(v), 64)
				}
			}
		}
		out[p.Name] = r
	}
	return out
}

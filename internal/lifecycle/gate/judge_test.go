// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gate

import (
	"math/rand/v2"
	"strings"
	"testing"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/upgrade"
)

// saw is a proxy of a workload.
func saw(workload, pod string, requests, failures uint64, p99 float64) upgrade.Seen {
	return upgrade.Seen{Workload: workload, Proxy: upgrade.Proxy{Namespace: "shop", Pod: pod, Slot: "b", Requests: requests, Failures: failures, P50: p99 / 2, P99: p99}}
}

func with(s upgrade.Seen, change func(*upgrade.Seen)) upgrade.Seen {
	change(&s)
	return s
}

type proxies = []upgrade.Seen

func TestJudge(t *testing.T) {
	five, tenThousand := int32(5), int32(10000)
	const cart, web = "shop/Deployment/cart", "shop/Deployment/web"
	for name, c := range map[string]struct {
		gates                    v1alpha1.Gates
		replaced, others, before proxies
		want                     v1alpha1.GateVerdict
		message                  string
	}{
		"nobody reports": {want: v1alpha1.GateNoEvidence, message: "no replaced proxy has reported"},
		"too few requests": {
			replaced: proxies{saw(cart, "c-0", 15, 15, 1), saw(web, "w-0", 4, 0, 1)}, others: proxies{saw(cart, "c-1", 1000, 0, 1)},
			want: v1alpha1.GateNoEvidence, message: "the replaced proxies have seen 19 requests of which 15 failed; 20 are needed",
		},
		"all is well": {
			replaced: proxies{saw(cart, "c-0", 500, 1, 8)}, others: proxies{saw(cart, "c-1", 700, 1, 9), saw(cart, "c-2", 330, 1, 8)},
			want: v1alpha1.GatePassed, message: "0.2 % of 500 requests failed in the replaced proxies, 0.2 % of 1,030 in those they are compared with",
		},
		"failures": {
			replaced: proxies{saw(cart, "c-0", 250, 30, 8)}, others: proxies{saw(cart, "c-1", 700, 2, 9), saw(cart, "c-2", 330, 2, 8)},
			want: v1alpha1.GateFailed, message: "shop/Deployment/cart: 12.0 % of 250 requests failed in the replaced proxies, 0.4 % of 1,030 in the others",
		},
		"failures, but as many as are allowed": {
			gates:    v1alpha1.Gates{MaxFailurePercent: &five},
			replaced: proxies{saw(cart, "c-0", 10000, 450, 8)}, others: proxies{saw(cart, "c-1", 10000, 0, 9)},
			want: v1alpha1.GatePassed, message: "4.5 % of 10,000 requests failed in the replaced proxies, 0.0 % of 10,000 in those they are compared with",
		},
		"failures, but they may be chance": {
			replaced: proxies{saw(cart, "c-0", 25, 1, 8)}, others: proxies{saw(cart, "c-1", 1000, 3, 9)},
			want: v1alpha1.GatePassed, message: "4.0 % of 25 requests failed in the replaced proxies, 0.3 % of 1,000 in those they are compared with",
		},
		"a workload that always fails": {
			replaced: proxies{saw(cart, "c-0", 1000, 510, 8)}, others: proxies{saw(cart, "c-1", 1000, 500, 9)},
			want: v1alpha1.GatePassed, message: "51.0 % of 1,000 requests failed in the replaced proxies, 50.0 % of 1,000 in those they are compared with",
		},
		"a workload that fails is not compared with another": {
			replaced: proxies{saw(cart, "c-0", 1000, 500, 8), saw(web, "w-0", 100, 0, 1)}, others: proxies{saw(cart, "c-1", 100, 50, 9), saw(web, "w-1", 1000, 0, 1)},
			want: v1alpha1.GatePassed, message: "45.5 % of 1,100 requests failed in the replaced proxies, 4.5 % of 1,100 in those they are compared with",
		},
		"no others, and it is well": {
			replaced: proxies{saw(cart, "c-0", 1000, 5, 8)},
			want:     v1alpha1.GatePassed, message: "0.5 % of 1,000 requests failed in the replaced proxies, there are no others to compare with",
		},
		"no others, and it may have been so before": {
			replaced: proxies{saw(cart, "c-0", 1000, 50, 8)},
			want:     v1alpha1.GateNoEvidence, message: "nothing to compare with: too few requests in other proxies of shop/Deployment/cart (5.0 % of 1,000 requests failed)",
		},
		"no others, and it was so before": {
			replaced: proxies{saw(cart, "c-0", 1000, 50, 8)}, before: proxies{saw(cart, "c-0", 1000, 50, 8)},
			want: v1alpha1.GatePassed, message: "5.0 % of 1,000 requests failed in the replaced proxies, 5.0 % of 1,000 in those they are compared with",
		},
		"no others, and it was better before": {
			replaced: proxies{saw(cart, "c-0", 1000, 50, 8)}, before: proxies{saw(cart, "c-0", 1000, 2, 8)},
			want: v1alpha1.GateFailed, message: "shop/Deployment/cart: 5.0 % of 1,000 requests failed in the replaced proxies, 0.2 % of 1,000 before",
		},
		"one workload is open": {
			replaced: proxies{saw(cart, "c-0", 1000, 50, 8), saw(web, "w-0", 100, 0, 1)}, others: proxies{saw(web, "w-1", 100, 0, 1)},
			want: v1alpha1.GatePassed, message: "0.0 % of 100 requests failed in the replaced proxies, 0.0 % of 100 in those they are compared with; " +
				"too few requests in other proxies to judge shop/Deployment/cart (5.0 % of 1,000 requests failed)",
		},
		"few requests in the others are enough for what is certain": {
			replaced: proxies{saw(cart, "c-0", 200, 200, 8)}, others: proxies{saw(cart, "c-1", 10, 0, 9)},
			want: v1alpha1.GateFailed, message: "shop/Deployment/cart: 100.0 % of 200 requests failed in the replaced proxies, 0.0 % of 10 in the others",
		},
		"slow": {
			replaced: proxies{saw(cart, "c-0", 300, 0, 45), saw(cart, "c-1", 100, 0, 25)}, others: proxies{saw(cart, "c-2", 400, 0, 18)},
			want: v1alpha1.GateFailed, message: "shop/Deployment/cart: 99 % of the requests took up to 40.0 ms in the replaced proxies, 18.0 ms in the others",
		},
		"slower within the limit": {
			replaced: proxies{saw(cart, "c-0", 400, 0, 36)}, others: proxies{saw(cart, "c-2", 400, 0, 18)},
			want: v1alpha1.GatePassed, message: "0.0 % of 400 requests failed in the replaced proxies, 0.0 % of 400 in those they are compared with",
		},
		"three times as slow, but by milliseconds": {
			replaced: proxies{saw(cart, "c-0", 400, 0, 3)}, others: proxies{saw(cart, "c-2", 400, 0, 1)},
			want: v1alpha1.GatePassed, message: "0.0 % of 400 requests failed in the replaced proxies, 0.0 % of 400 in those they are compared with",
		},
		"a percentage of less than a millisecond is one of a millisecond": {
			gates:    v1alpha1.Gates{MaxSlowdownPercent: &tenThousand},
			replaced: proxies{saw(cart, "c-0", 400, 0, 20)}, others: proxies{saw(cart, "c-2", 400, 0, 0)},
			want: v1alpha1.GatePassed, message: "0.0 % of 400 requests failed in the replaced proxies, 0.0 % of 400 in those they are compared with",
		},
		"slow, and so it gets few requests": {
			replaced: proxies{saw(cart, "c-0", 168, 0, 900)}, others: proxies{saw(cart, "c-2", 4000, 0, 380)},
			want: v1alpha1.GateFailed, message: "shop/Deployment/cart: half of the requests took up to 450.0 ms in the replaced proxies, 190.0 ms in the others",
		},
		"half of very few are slow": {
			replaced: proxies{saw(cart, "c-0", 49, 0, 900)}, others: proxies{saw(cart, "c-2", 4000, 0, 380)},
			want: v1alpha1.GatePassed, message: "0.0 % of 49 requests failed in the replaced proxies, 0.0 % of 4,000 in those they are compared with",
		},
		"one slow request of a few": {
			replaced: proxies{with(saw(cart, "c-0", 100, 0, 900), func(s *upgrade.Seen) { s.P50 = 9 })}, others: proxies{saw(cart, "c-2", 400, 0, 18)},
			want: v1alpha1.GatePassed, message: "0.0 % of 100 requests failed in the replaced proxies, 0.0 % of 400 in those they are compared with",
		},
		"a rejection without any traffic": {
			replaced: proxies{saw(cart, "c-1", 0, 0, 0), with(saw(cart, "c-0", 0, 0, 0), func(s *upgrade.Seen) {
				s.Rejected, s.Nacks = 2, []string{"Listener z: bad", "Cluster out/shop/web/80: no such extension"}
			})},
			want: v1alpha1.GateFailed, message: "the proxy of pod shop/c-0 rejects 2 of its resources: Cluster out/shop/web/80: no such extension",
		},
		"a crash": {
			replaced: proxies{with(saw(cart, "c-0", 1000, 0, 0), func(s *upgrade.Seen) { s.Restarts = 3 }), with(saw(cart, "a-0", 1000, 0, 0), func(s *upgrade.Seen) { s.Restarts = 1 })},
			others:   proxies{saw(cart, "c-2", 1000, 0, 0)},
			want:     v1alpha1.GateFailed, message: "Envoy ended by itself once in pod shop/a-0; Envoy ended by itself 3 times in pod shop/c-0",
		},
		"what the others reject is not the new release's fault": {
			replaced: proxies{saw(cart, "c-0", 100, 0, 1)}, others: proxies{with(saw(cart, "c-1", 100, 0, 1), func(s *upgrade.Seen) { s.Rejected, s.Restarts = 7, 7 })},
			want: v1alpha1.GatePassed, message: "0.0 % of 100 requests failed in the replaced proxies, 0.0 % of 100 in those they are compared with",
		},
		"many problems": {
			replaced: proxies{saw("a", "a-0", 100, 90, 1), saw("b", "b-0", 100, 90, 1), saw("c", "c-0", 100, 90, 1), saw("d", "d-0", 100, 90, 1), saw("e", "e-0", 100, 90, 1)},
			others:   proxies{saw("a", "a-1", 100, 0, 1), saw("b", "b-1", 100, 0, 1), saw("c", "c-1", 100, 0, 1), saw("d", "d-1", 100, 0, 1), saw("e", "e-1", 100, 0, 1)},
			want:     v1alpha1.GateFailed,
			message: "a: 90.0 % of 100 requests failed in the replaced proxies, 0.0 % of 100 in the others; b: 90.0 % of 100 requests failed in the replaced proxies, 0.0 % of 100 in the others; " +
				"c: 90.0 % of 100 requests failed in the replaced proxies, 0.0 % of 100 in the others; and 2 more",
		},
		"a little everywhere": {
			replaced: proxies{saw("a", "a-0", 40, 3, 1), saw("b", "b-0", 40, 3, 1), saw("c", "c-0", 40, 3, 1), saw("d", "d-0", 40, 3, 1), saw("e", "e-0", 40, 3, 1)},
			others:   proxies{saw("a", "a-1", 40, 0, 1), saw("b", "b-1", 40, 0, 1), saw("c", "c-1", 40, 0, 1), saw("d", "d-1", 40, 0, 1), saw("e", "e-1", 40, 0, 1)},
			want:     v1alpha1.GateFailed, message: "all workloads together: 7.5 % of 200 requests failed in the replaced proxies, 0.0 % would have in the others",
		},
		"a liar's numbers stay numbers": {
			replaced: proxies{saw(cart, "c-0", 1<<63, 1<<63, 1), saw(cart, "c-1", 1<<63, 1<<63, -5)}, others: proxies{saw(cart, "c-2", 1000, 0, 1)},
			want: v1alpha1.GateFailed, message: "shop/Deployment/cart: 100.0 % of 2,147,483,648 requests failed in the replaced proxies, 0.0 % of 1,000 in the others",
		},
	} {
		t.Run(name, func(t *testing.T) {
			v, message := JudgeSince(c.gates, c.replaced, c.others, c.before)
			if v != c.want || message != c.message {
				t.Errorf("%s: %s\nwant\n%s: %s", v, message, c.want, c.message)
			}
		})
	}
}

// anyWave makes proxies of a few workloads, with few or many requests and failures.
func anyWave(r *rand.Rand) (replaced, others, before proxies) {
	some := func() (out proxies) {
		for range r.IntN(6) {
			n := uint64(r.IntN([]int{5, 50, 5000}[r.IntN(3)]))
			bad := uint64(0)
			if n > 0 && r.IntN(2) == 0 {
				bad = uint64(r.IntN(int(n) + 1))
			}
			s := saw([]string{"a", "b", "c"}[r.IntN(3)], string(rune('a'+r.IntN(26))), n, bad, float64(r.IntN(60)))
			if r.IntN(40) == 0 {
				s.Restarts = 1
			}
			out = append(out, s)
		}
		return out
	}
	return some(), some(), some()
}

// TestJudgeProperties: whatever the proxies report, order does not matter, more failures or a slower
// proxy never make it better, and there is no pass without enough requests.
func TestJudgeProperties(t *testing.T) {
	rank := map[v1alpha1.GateVerdict]int{v1alpha1.GateFailed: 0, v1alpha1.GateNoEvidence: 1, v1alpha1.GatePassed: 2}
	met := map[v1alpha1.GateVerdict]int{}
	for seed := range uint64(20000) {
		r := rand.New(rand.NewPCG(seed, 7)) //nolint:gosec // repeatable
		replaced, others, before := anyWave(r)
		v, message := JudgeSince(v1alpha1.Gates{}, replaced, others, before)
		met[v]++

		mixed := append(proxies(nil), replaced...)
		r.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
		r.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
		if w, m := JudgeSince(v1alpha1.Gates{}, mixed, others, before); w != v || m != message {
			t.Fatalf("seed %d: in another order %s: %s\nnot %s: %s", seed, w, m, v, message)
		}
		total := uint64(0)
		for _, p := range replaced {
			total += p.Requests
		}
		if v == v1alpha1.GatePassed && total < 20 || message == "" || strings.Contains(message, "NaN") {
			t.Fatalf("seed %d: %s with %d requests: %s", seed, v, total, message)
		}
		if len(replaced) == 0 {
			continue
		}
		i := r.IntN(len(mixed))
		worst := mixed[i]
		if r.IntN(2) == 0 && worst.Failures < worst.Requests {
			worst.Failures += 1 + uint64(r.IntN(int(worst.Requests-worst.Failures)))
		} else {
			worst.P99 += float64(r.IntN(1000))
		}
		mixed[i] = worst
		if w, m := JudgeSince(v1alpha1.Gates{}, mixed, others, before); rank[w] > rank[v] {
			t.Fatalf("seed %d: %s: %s\nbut with proxy %+v\n%s: %s", seed, v, message, worst, w, m)
		}
	}
	for v := range rank {
		if met[v] < 100 {
			t.Errorf("the test met %s only %d times", v, met[v])
		}
	}
}

// TestChance: when nothing has changed, the gate hardly ever fails; when every tenth request fails
// since, nearly always.
func TestChance(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 7)) //nolint:gosec // repeatable
	wave := func(n int, share float64) (out proxies) {
		for _, w := range []string{"a", "b", "c", "d", "e"} {
			failures := uint64(0)
			for range n {
				if r.Float64() < share {
					failures++
				}
			}
			out = append(out, saw(w, w, uint64(n), failures, 1))
		}
		return out
	}
	const rounds = 1000
	wrong, missed := 0, 0
	for range rounds {
		if v, _ := Judge(v1alpha1.Gates{}, wave(60, 0.05), wave(240, 0.05)); v == v1alpha1.GateFailed {
			wrong++
		}
		if v, _ := Judge(v1alpha1.Gates{}, wave(60, 0.15), wave(240, 0.05)); v != v1alpha1.GateFailed {
			missed++
		}
	}
	t.Logf("of %d waves of 5 workloads, %d without a change failed, %d with one passed", rounds, wrong, missed)
	if wrong > rounds/50 || missed > rounds/20 {
		t.Errorf("%d of %d waves without a change failed, %d with one passed", wrong, rounds, missed)
	}
}

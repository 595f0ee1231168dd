// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package inject

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/internal/bounded"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// webhook serves a handler as the control plane does.
func webhook(t testing.TB, change func(*HandlerOptions)) *httptest.Server {
	t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	srv.Config = bounded.NewServer(handler(t, change), nil)
	srv.Config.SetKeepAlivesEnabled(false)
	srv.EnableHTTP2 = true
	srv.Listener = bounded.Listen(srv.Listener, bounded.Connections{Total: 64, PerAddress: 32, Age: bounded.MaxAge})
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv
}

// clientOf returns a client of a server, from an address of the loopback network.
func clientOf(srv *httptest.Server, source string) *http.Client {
	roots := srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		DialContext: d.DialContext, ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "example.com"},
	}}
}

// reviewOf is a review of a pod, as the API server would send it.
func reviewOf(pod string) string {
	return `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u-1","operation":"CREATE","namespace":"shop",` +
		`"resource":{"group":"","version":"v1","resource":"pods"},"object":` + pod + `}}`
}

// repeat is n times what, with commas between.
func repeat(what string, n int) string { return what + strings.Repeat(","+what, n-1) }

// numbered is n times what, whose %d is another number each time.
func numbered(what string, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, what, i)
	}
	return b.String()
}

// moved is a container whose probes an earlier injection has moved, as %d.
const movedContainer = `{"name":"c%[1]d","livenessProbe":{"httpGet":{"port":15020,"path":"/probe/x/liveness"}},"readinessProbe":{"httpGet":{"port":15020,"path":"/probe/x/readiness"}}}`

// quoted is a text as a JSON string.
func quoted(v any) string {
	if s, ok := v.(string); ok {
		b, _ := json.Marshal(s)
		return string(b)
	}
	b, _ := json.Marshal(v)
	return quoted(string(b))
}

// bombs are reviews that cost much more than they are large, by their number of bytes.
func bombs() map[string]string {
	headers := protocol.Probe{HTTP: &protocol.HTTPProbe{Port: 80, Path: "/" + strings.Repeat("x", 200_000)}}
	recorded := protocol.Probes{"/probe/x/liveness": headers, "/probe/x/readiness": headers}
	slot := `{"name":"tulle-proxy-a","command":["/tulle-slot"],"env":[{"name":"TULLE_PROBES","value":%s}]}`
	long := strings.Repeat("n", 1_000_000)
	return map[string]string{
		"containers":           reviewOf(`{"spec":{"containers":[` + repeat("{}", 1_390_000) + `]}}`),
		"init containers":      reviewOf(`{"spec":{"initContainers":[` + repeat("{}", 1_390_000) + `]}}`),
		"volumes":              reviewOf(`{"spec":{"volumes":[` + repeat("{}", 1_390_000) + `]}}`),
		"nested":               reviewOf(`{"spec":` + strings.Repeat(`{"a":[`, 300_000) + strings.Repeat("]}", 300_000) + `}`),
		"labels":               reviewOf(`{"metadata":{"labels":{` + numbered(`"%d":""`, 350_000) + `}}}`),
		"annotations":          reviewOf(`{"metadata":{"annotations":{` + numbered(`"tulle.dev/%d":""`, 180_000) + `}},"spec":{"containers":[{"name":"a"}]}}`),
		"groups":               `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"userInfo":{"groups":[` + repeat(`""`, 1_390_000) + `]}}}`,
		"extra":                `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"userInfo":{"extra":{` + numbered(`"%d":[""]`, 250_000) + `}}}}`,
		"twice":                reviewOf(`{"spec":{"containers":[` + repeat("{}", 600_000) + `],"containers":[` + repeat("{}", 600_000) + `]}}`),
		"no end":               reviewOf(`{"spec":{"containers":[` + repeat("{}", 1_390_000))[:4_170_000],
		"not a review":         `[` + repeat("{}", 1_390_000) + `]`,
		"record":               reviewOf(`{"metadata":{"annotations":{"tulle.dev/injected":` + quoted(`{"addedToPod":{`+numbered(`"%d":"1"`, 300_000)+`}}`) + `}},"spec":{"containers":[{"name":"a"}]}}`),
		"recorded probes":      reviewOf(`{"spec":{"initContainers":[` + fmt.Sprintf(slot, quoted(`{`+numbered(`"%d":{}`, 300_000)+`}`)) + `],"containers":[{"name":"a"}]}}`),
		"probes of one record": reviewOf(`{"spec":{"initContainers":[` + fmt.Sprintf(slot, quoted(recorded)) + `],"containers":[` + numbered(movedContainer, 1000) + `]}}`),
		"a few of one record":  reviewOf(`{"spec":{"initContainers":[` + fmt.Sprintf(slot, quoted(recorded)) + `],"containers":[` + numbered(movedContainer, 250) + `]}}`),
		"original":             reviewOf(`{"spec":{"containers":[{"name":"a","livenessProbe":{"httpGet":{"port":15020,"path":"/probe/a/liveness","httpHeaders":[{"name":"X-Tulle-Probe","value":` + quoted(`{"httpGet":{"httpHeaders":[`+repeat("{}", 1_000_000)+`]}}`) + `}]}}}]}}`),
		"a long name":          reviewOf(`{"spec":{"containers":[{"name":"` + long + `","ports":[` + repeat(`{"containerPort":15001}`, 9000) + `]}]}}`),
		"capabilities":         reviewOf(`{"spec":{"containers":[{"name":"` + long + `","securityContext":{"capabilities":{"add":[` + repeat(`"ALL"`, 9000) + `]}}}]}}`),
		"many problems":        reviewOf(`{"metadata":{"annotations":{` + numbered(`"tulle.dev/%d":""`, 49_000) + `}},"spec":{"containers":[{"name":"a"}]}}`),
		"long probes":          reviewOf(`{"spec":{"containers":[` + numbered(`{"name":"c%d","livenessProbe":{"httpGet":{"port":80,"path":"/`+strings.Repeat("x", 12_000)+`"}}}`, 250) + `]}}`),
		"a long path":          reviewOf(`{"metadata":{"annotations":{"prometheus.io/scrape":"true","prometheus.io/port":"80","prometheus.io/path":"` + long + `"}},"spec":{"containers":[{"name":"a"}]}}`),
		"another container":    reviewOf(`{"spec":{"containers":[` + numbered(movedContainer, 3000) + `]}}`),
	}
}

// send posts a review and returns the status; 0 if the server closed the connection, as it may for one it does not read.
func send(client *http.Client, url, review string) int {
	resp, err := client.Post(url+names.InjectPath, "application/json", strings.NewReader(review))
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// TestBombs: no review makes the webhook allocate much more than its own size, alone or three at a time. What is
// allocated in all counts, also what is collected again: of what it holds at a time that is an upper bound.
func TestBombs(t *testing.T) {
	srv := webhook(t, nil)
	for name, review := range bombs() {
		t.Run(name, func(t *testing.T) {
			for _, n := range []int{1, 3} {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				began := time.Now()
				var all sync.WaitGroup
				for i := range n {
					client := clientOf(srv, fmt.Sprintf("127.0.0.%d", 2+i))
					all.Go(func() { send(client, srv.URL, review) })
				}
				all.Wait()
				runtime.ReadMemStats(&after)
				took, used := time.Since(began), after.TotalAlloc-before.TotalAlloc
				t.Logf("%d of %d bytes: %d KB, %v", n, len(review), used>>10, took)
				most := uint64(4 << 20) // refused as soon as it has too much of something
				if s := bounded.NewScanner(bounded.Shape{Elements: 10_000, Members: 50_000, Depth: 64}); len(review) <= maxReview && s.Scan([]byte(review)) == nil {
					most = uint64(2*cost(len(review), s.Seen())) + 1<<20
				}
				if used > uint64(n)*most {
					t.Errorf("%d of %d bytes: %d KB, want at most %d", n, len(review), used>>10, uint64(n)*most>>10)
				}
				if took > 10*time.Second {
					t.Errorf("took %v", took)
				}
			}
		})
	}
	if code := send(clientOf(srv, "127.0.0.9"), srv.URL, reviewOf(aPod)); code != http.StatusOK {
		t.Errorf("afterwards a pod gets %d", code)
	}
}

// TestQuantityBombs: a quantity of a few bytes that takes minutes to decode or compare is refused, wherever
// it stands and however its name is written.
func TestQuantityBombs(t *testing.T) {
	h := handler(t, nil)
	for _, value := range []string{`"1e999999999"`, `1e999999999`, `"1111111111111111111e999999999"`, `"-1E+999999999"`, `"e999999999"`, `"1e-999999999"`, `"` + strings.Repeat("1", 100) + `"`} {
		for _, pod := range []string{
			`{"spec":{"containers":[{"name":"a","resources":{"limits":{"cpu":%s,"memory":1},"requests":{"cpu":1,"memory":1}}}]}}`,
			`{"spec":{"containers":[{"name":"a","resources":{"limits":{"cpu":1,"memory":1},"requests":{"cpu":%s,"memory":1}}}]}}`,
			`{"spec":{"containers":[{"name":"a","resources":{"limits":{"cpu":%[1]s},"limits":{"cpu":1}}}]}}`,
			`{"spec":{"containers":[{"name":"a","reſources":{"LIMITſ":{"cpu":%s}}}]}}`,
			`{"spec":{"containers":[{"name":"a","resources":{"limit\u0073":{"cpu":%s}}}]}}`,
			`{"spec":{"resources":{"requests":{"cpu":%s}},"containers":[{"name":"a"}]}}`,
			`{"spec":{"overhead":{"cpu":%s},"containers":[{"name":"a"}]}}`,
			`{"spec":{"volumes":[{"emptyDir":{"sizeLimit":%s}}],"containers":[{"name":"a"}]}}`,
			`{"spec":{"containers":[{"name":"a","env":[{"valueFrom":{"resourceFieldRef":{"divisor":%s}}}]}]}}`,
			`{"spec":{"volumes":[{"ephemeral":{"volumeClaimTemplate":{"spec":{"resources":{"limits":{"storage":%s}}}}}}]}}`,
			`{"status":{"containerStatuses":[{"allocatedResources":{"cpu":%s}}]}}`,
		} {
			answer := ask(t, h, request(fmt.Sprintf(pod, value)))
			if answer.Allowed || answer.Result.Code != http.StatusBadRequest || !strings.Contains(answer.Result.Message, "exponent") {
				t.Errorf("%s in %s: %+v", value, pod, answer)
			}
		}
	}
	for _, value := range []string{`"1"`, `1`, `"0.5"`, `"100m"`, `"128Mi"`, `"1e3"`, `"12E"`, `"1E"`, `128974848`, `"-1"`, `null`, `"1.5Gi"`, `1e6`} {
		if answer := ask(t, h, request(`{"spec":{"containers":[{"name":"a","resources":{"limits":{"memory":`+value+`}}}]}}`)); !answer.Allowed {
			t.Errorf("%s: %+v", value, answer.Result)
		}
	}
	// Elsewhere a text may look as it likes.
	if answer := ask(t, h, request(`{"metadata":{"labels":{"commit":"1e999999999"}},"spec":{"containers":[{"name":"a","args":["1e999999999"],"env":[{"name":"X","value":"1e999999999"}]}]}}`)); !answer.Allowed {
		t.Errorf("%+v", answer.Result)
	}
	if want := []string{"limits", "requests", "overhead", "sizeLimit", "divisor", "allocatedResources"}; slices.ContainsFunc(want, func(f string) bool { return !slices.Contains(quantityFields(), f) }) {
		t.Errorf("fields: %v", quantityFields())
	}
}

// large is a pod of about the size that the API server stores at most, with managed fields.
func large() *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "large", Annotations: map[string]string{"config": strings.Repeat(`{"a": "b"}, `, 20_000)}}}
	fields := strings.Builder{}
	for i := range 20 {
		c := corev1.Container{Name: fmt.Sprint("c", i), Image: "i", Args: []string{strings.Repeat("echo \"hello\"\n", 2000)}}
		c.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("128Mi")}
		for j := range 150 {
			c.Env = append(c.Env, corev1.EnvVar{Name: fmt.Sprint("VARIABLE_", j), Value: strings.Repeat("v", 100)})
			if i+j > 0 {
				fields.WriteByte(',')
			}
			fmt.Fprintf(&fields, `"k:{\"name\":\"VARIABLE_%d_%d\"}":{".":{},"f:name":{},"f:value":{}}`, i, j)
		}
		p.Spec.Containers = append(p.Spec.Containers, c)
	}
	p.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl", Operation: "Apply", FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(`{"f:spec":{` + fields.String() + `}}`)}}
	return p
}

// TestLargePods: a pod as large as the API server stores is injected, also several of them at once.
func TestLargePods(t *testing.T) {
	srv := webhook(t, nil)
	review := reviewOf(string(marshal(t, large())))
	if len(review) < 1_500_000 || len(review) > maxReview {
		t.Fatalf("%d bytes", len(review))
	}
	client := clientOf(srv, "127.0.0.9")
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			resp, err := client.Post(srv.URL+names.InjectPath, "application/json", strings.NewReader(review))
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			var got admissionv1.AdmissionReview
			if err := json.NewDecoder(resp.Body).Decode(&got); err != nil || got.Response == nil || !got.Response.Allowed || len(got.Response.Patch) == 0 {
				t.Errorf("%d, %v, %+v", resp.StatusCode, err, got.Response)
			}
		})
	}
	all.Wait()
}

// TestCost: what serving a review allocates is no more than what it is counted for.
func TestCost(t *testing.T) {
	h := handler(t, nil)
	for name, pod := range map[string]string{
		"small":       aPod,
		"large":       string(marshal(t, large())),
		"env":         `{"spec":{"containers":[{"name":"a","env":[` + numbered(`{"name":"V%d"}`, 9000) + `]}]}}`,
		"containers":  `{"spec":{"containers":[` + numbered(`{"name":"c%d"}`, 250) + `]}}`,
		"many":        `{"spec":{"containers":[` + repeat(`{}`, 9900) + `]}}`,
		"volumes":     `{"spec":{"containers":[{"name":"a"}],"volumes":[` + repeat(`{}`, 9900) + `]}}`,
		"labels":      `{"metadata":{"labels":{` + numbered(`"l%d":""`, 49_000) + `}},"spec":{"containers":[{"name":"a"}]}}`,
		"text":        `{"spec":{"containers":[{"name":"a","args":["` + strings.Repeat("x", 3_500_000) + `"]}]}}`,
		"statuses":    `{"status":{"containerStatuses":[` + repeat(`{}`, 9900) + `]},"spec":{"containers":[{"name":"a"}]}}`,
		"left over":   `{"metadata":{"labels":{"tulle.dev/inject":"disabled"}},"spec":{"containers":[` + numbered(movedContainer, 250) + `]}}`,
		"quantities":  `{"spec":{"containers":[{"name":"a","resources":{"limits":{` + numbered(`"r%d":1`, 49_000) + `}}}]}}`,
		"long probes": `{"spec":{"containers":[` + numbered(`{"name":"c%d","livenessProbe":{"httpGet":{"port":80,"path":"/`+strings.Repeat("x", 400)+`"}}}`, 250) + `]}}`,
		"many probes": `{"spec":{"containers":[` + numbered(`{"name":"c%d","livenessProbe":{"tcpSocket":{"port":80}},"readinessProbe":{"tcpSocket":{"port":80}}}`, 250) + `]}}`,
	} {
		review := reviewOf(pod)
		scan := bounded.NewScanner(maxShape())
		if err := scan.Scan([]byte(review)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		counted := cost(len(review), scan.Seen())
		r := httptest.NewRequest(http.MethodPost, names.InjectPath, strings.NewReader(review))
		r.Header.Set("Content-Type", "application/json")
		w := &discarded{header: http.Header{}}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		began := time.Now()
		h.ServeHTTP(w, r)
		runtime.ReadMemStats(&after)
		used := int64(after.TotalAlloc - before.TotalAlloc)
		t.Logf("%s: %d bytes, %+v: %d KB allocated, %d KB counted, %v", name, len(review), scan.Seen(), used>>10, counted>>10, time.Since(began))
		if used > 2*counted { // half is collected meanwhile
			t.Errorf("%s: %d KB are allocated, %d KB are counted", name, used>>10, counted>>10)
		}
	}
}

type discarded struct{ header http.Header }

func (d *discarded) Header() http.Header         { return d.header }
func (d *discarded) Write(p []byte) (int, error) { return len(p), nil }
func (d *discarded) WriteHeader(int)             {}

// TestFlood: while strangers from many addresses send reviews of every kind as fast as they can, slowly or
// not at all, those of the API server are answered in time.
func TestFlood(t *testing.T) {
	srv := webhook(t, func(o *HandlerOptions) {
		o.Namespace = func(ctx context.Context, _ netip.Addr, name string) (NamespaceFacts, error) {
			return NamespaceFacts{Name: name, Labels: map[string]string{names.LabelInject: names.InjectEnabled}}, nil
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	heavy := reviewOf(`{"spec":{"containers":[` + numbered(`{"name":"c%d","env":[{"name":"A"},{"name":"B"},{"name":"C"}]}`, 200) + `]}}`)
	bomb := bombs()["containers"]
	big := reviewOf(string(marshal(t, large())))
	var all sync.WaitGroup
	var sent atomic.Int64
	for i := range 8 {
		client := clientOf(srv, fmt.Sprintf("127.0.1.%d", 1+i))
		client.Timeout = 2 * time.Second
		all.Go(func() {
			for ctx.Err() == nil {
				switch i % 4 {
				case 0:
					send(client, srv.URL, heavy)
				case 1:
					send(client, srv.URL, bomb)
				case 2:
					send(client, srv.URL, big)
				case 3: // announced, and never sent
					r, w := io.Pipe()
					go func() { _, _ = w.Write([]byte("{")) }()
					req, _ := http.NewRequestWithContext(ctx, http.MethodPost, srv.URL+names.InjectPath, r)
					req.ContentLength = maxReview
					req.Header.Set("Content-Type", "application/json")
					if resp, err := client.Do(req); err == nil {
						resp.Body.Close()
					}
					w.Close()
				}
				sent.Add(1)
			}
		})
	}
	client := clientOf(srv, "127.0.0.9")
	var slowest time.Duration
	for n := 0; n < 15 || sent.Load() < 40; n++ {
		began := time.Now()
		if code := send(client, srv.URL, reviewOf(aPod)); code != http.StatusOK {
			t.Errorf("review %d: %d", n, code)
		}
		slowest = max(slowest, time.Since(began))
	}
	cancel()
	all.Wait()
	t.Logf("the slowest of the real reviews took %v, beside %d others", slowest, sent.Load())
	if slowest > 8*time.Second { // the API server waits for ten
		t.Errorf("a real review took %v", slowest)
	}
}

// unread is the connection of a client that reads no answer.
type unread struct {
	discarded
	began    chan struct{}
	end      chan struct{}
	deadline time.Time
}

func (u *unread) Write(p []byte) (int, error) {
	close(u.began)
	<-u.end
	return 0, io.ErrClosedPipe
}

func (u *unread) SetWriteDeadline(t time.Time) error {
	u.deadline = t
	return nil
}

// TestUnreadAnswers: a client that reads no answer holds no memory of decoding, and a write has an end.
func TestUnreadAnswers(t *testing.T) {
	h := handler(t, nil)
	review := reviewOf(`{"spec":{"containers":[{"name":"a"}],"volumes":[` + repeat(`{"name":"tulle-run"}`, 9900) + `]}}`)
	if cost(len(review), bounded.Shape{Elements: 9900}) < working/2 {
		t.Fatal("two of these are no flood")
	}
	end := make(chan struct{})
	var all sync.WaitGroup
	for i := range 8 {
		r := httptest.NewRequest(http.MethodPost, names.InjectPath, strings.NewReader(review))
		r.Header.Set("Content-Type", "application/json")
		r.RemoteAddr = fmt.Sprintf("192.0.2.%d:1", 10+i)
		w := &unread{discarded: discarded{header: http.Header{}}, began: make(chan struct{}), end: end}
		all.Go(func() { h.ServeHTTP(w, r) })
		<-w.began
		if left := time.Until(w.deadline); left <= 0 || left > wait {
			t.Errorf("a write may take %v", left)
		}
	}
	if w := post(h, reviewOf(aPod), "application/json"); w.Code != http.StatusOK {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	close(end)
	all.Wait()
}

// FuzzReview: whatever is sent as a review, nothing panics and the answer is one.
func FuzzReview(f *testing.F) {
	h := handler(f, nil)
	f.Add([]byte(reviewOf(aPod)))
	f.Add([]byte(reviewOf(`{"spec":{"containers":[{"name":"a","resources":{"limits":{"cpu":"1e999999999"}}}]}}`)))
	f.Add([]byte(reviewOf(`{"spec":{"containers":[{"name":"a","resources":{"limits":{"cpu":"1e3"},"requests":{"cpu":1}}}]}}`)))
	f.Add([]byte(reviewOf(`{"metadata":{"annotations":{"tulle.dev/injected":"{}"}},"spec":{"containers":[` + numbered(movedContainer, 2) + `]}}`)))
	f.Add([]byte(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"object":null}}`))
	f.Add([]byte(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"userInfo":{"extra":{"a":["b"]}},"options":{},"oldObject":[]}}`))
	f.Fuzz(func(t *testing.T, review []byte) {
		w := post(h, string(review), "application/json")
		if w.Code != http.StatusOK {
			return
		}
		var got admissionv1.AdmissionReview
		if err := json.NewDecoder(bytes.NewReader(w.Body.Bytes())).Decode(&got); err != nil || got.Response == nil || !got.Response.Allowed && got.Response.Result.Message == "" {
			t.Errorf("%s", w.Body)
		}
	})
}

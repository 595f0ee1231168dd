// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tulle.dev/tulle/internal/scrape"
)

// TestPatience: a client waits for as long as Prometheus says, within bounds, whatever it says.
func TestPatience(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"": 8 * time.Second, "10": 8 * time.Second, "1": 8 * time.Second, "30": 25 * time.Second, "20.5": 18500 * time.Millisecond, "1e300": 25 * time.Second,
		"NaN": 8 * time.Second, "-5": 8 * time.Second, "+Inf": 25 * time.Second, "x": 8 * time.Second,
	} {
		if got := patienceOf(header); got != want {
			t.Errorf("%q: %v, want %v", header, got, want)
		}
	}
}

// workload is a pod's page and its application, which are connected in memory.
type workload struct {
	page http.Handler
	// answer is what the application does with its nth scrape.
	answer func(ctx context.Context, n int)

	mu            sync.Mutex // guards the rest
	scrapes       int
	running, most int // scrapes of the application at a time
	envoys        int // of Envoy
}

// newWorkload is for a bubble.
func newWorkload(t *testing.T, answer func(ctx context.Context, n int)) *workload {
	t.Helper()
	p := &workload{answer: answer}
	conns := make(chan net.Conn)
	ended := make(chan struct{})
	s := &http.Server{Handler: p}
	go s.Serve(pipes{conns, ended})
	t.Cleanup(func() { close(ended); s.Close() })
	p.page = NewPage(&Registry{}, func() {}, func(_ context.Context, w io.Writer) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.envoys++
		_, err := fmt.Fprintf(w, "envoy_at %d\n", time.Now().UnixNano())
		return err
	}, &App{URL: "http://app/metrics", Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		here, there := net.Pipe()
		select {
		case conns <- there:
			return here, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}})
	return p
}

// pipes is a listener in memory.
type pipes struct {
	conns chan net.Conn
	ended chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.ended:
		return nil, net.ErrClosed
	}
}
func (pipes) Close() error   { return nil }
func (pipes) Addr() net.Addr { return &net.UnixAddr{} }

// ServeHTTP is the application.
func (p *workload) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.scrapes++
	n := p.scrapes
	p.running++
	p.most = max(p.most, p.running)
	p.mu.Unlock()
	p.answer(r.Context(), n)
	p.mu.Lock()
	p.running--
	p.mu.Unlock()
	fmt.Fprintf(w, "app_scrape %d\n", n)
}

// takes is an application that takes a time, and notices when the agent no longer waits.
func takes(d time.Duration) func(context.Context, int) {
	return func(ctx context.Context, _ int) {
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
	}
}

const never = 24 * time.Hour

// scrape asks for a page, and returns how long that took and whether the application's part is in it. Envoy's part has to
// be fresh.
func (p *workload) scrape(t *testing.T, timeout string) (took time.Duration, app bool) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody)
	if timeout != "" {
		r.Header.Set(timeHeader, timeout)
	}
	began := time.Now()
	w := httptest.NewRecorder()
	p.page.ServeHTTP(w, r)
	var at int64
	if _, err := fmt.Sscanf(w.Body.String(), "envoy_at %d\n", &at); err != nil || time.Since(time.Unix(0, at)) > scrape.Age {
		t.Errorf("Envoy's part is missing, or was read %v ago: %v", time.Since(time.Unix(0, at)), err)
	}
	if _, err := parse(w.Body.Bytes()); err != nil || fmt.Sprint(w.Body.Len()) != w.Header().Get("Content-Length") {
		t.Errorf("the page is not valid: %v, %v", err, w.Header())
	}
	app = strings.Contains(w.Body.String(), "\napp_scrape ")
	if left := strings.Contains(w.Body.String(), "\n# The application's metrics are left out: "+errLate.Error()+"\n"); left == app {
		t.Errorf("the page has the application's part: %v, a reason for its absence: %v", app, left)
	}
	return time.Since(began), app
}

// TestNobodyElsesPatience: what other clients say they wait for makes no page late and takes nothing from it, however often
// they come and whoever is first. The application is read again at the same time only if it takes longer than minPatience.
func TestNobodyElsesPatience(t *testing.T) {
	for name, c := range map[string]struct {
		app                time.Duration
		stranger           string // how long a stranger waits
		timeout            string // how long Prometheus waits
		patience, interval time.Duration
		want               bool // the application's part is in each of Prometheus' pages; else it may be
	}{
		"a stranger that waits long, an application that hangs":        {never, "100", "10", 8 * time.Second, 15 * time.Second, false},
		"a stranger that waits long, no header":                        {never, "100", "", 8 * time.Second, 15 * time.Second, false},
		"a stranger that does not wait, an application that is slow":   {15 * time.Second, "", "30", 15 * time.Second, 30 * time.Second, true},
		"a stranger that waits a moment, an application that is slow":  {15 * time.Second, "0.001", "20", 15 * time.Second, 21 * time.Second, true},
		"a stranger that waits long, an application that takes longer": {20 * time.Second, "100", "30", 20 * time.Second, 31 * time.Second, true},
		"two of Prometheus, the other waits longer":                    {12 * time.Second, "30", "10", 8 * time.Second, 13 * time.Second, false},
		"two of Prometheus, the other waits less":                      {12 * time.Second, "10", "30", 12 * time.Second, 31 * time.Second, true},
		"an application that is just in time":                          {7 * time.Second, "100", "10", 7 * time.Second, 10 * time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newWorkload(t, takes(c.app))
				const length = 10 * time.Minute
				var wg sync.WaitGroup
				for pause := 100 * time.Millisecond; pause < 30*time.Second; pause = pause * 7 / 2 {
					wg.Go(func() {
						for began := time.Now(); time.Since(began) < length; time.Sleep(pause) {
							p.scrape(t, c.stranger)
						}
					})
				}
				wg.Go(func() {
					for began := time.Now(); time.Since(began) < length; time.Sleep(c.interval + 137*time.Millisecond) {
						if took, app := p.scrape(t, c.timeout); took > c.patience || c.want && !app {
							t.Errorf("after %v a page takes %v and has the application's part: %v", time.Since(began), took, app)
						}
					}
				})
				wg.Wait()
				if p.most > maxReads || time.Duration(p.most-1)*minPatience >= c.app {
					t.Errorf("the application has %d scrapes at a time", p.most)
				}
				if p.envoys > int(length/scrape.Age)+60 {
					t.Errorf("Envoy was read %d times in %v", p.envoys, length)
				}
				time.Sleep(time.Minute)
			})
		})
	}
}

// TestLateClient: a client that comes during a read has its own time for it.
func TestLateClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newWorkload(t, takes(12*time.Second))
		go p.scrape(t, "") // until 8 s
		time.Sleep(7 * time.Second)
		if took, app := p.scrape(t, ""); took != 5*time.Second || !app {
			t.Errorf("it takes %v, and has the application's part: %v", took, app)
		}
		if took, app := p.scrape(t, ""); took != 0 || !app || p.scrapes != 1 {
			t.Errorf("a moment later it takes %v, and has the application's part: %v, after %d scrapes of the application", took, app, p.scrapes)
		}
		time.Sleep(time.Minute)
	})
}

// TestNextClient: a read that has ended because its clients have given up is not used again.
func TestNextClient(t *testing.T) {
	for _, after := range []time.Duration{minPatience - 1, minPatience, minPatience + 1, minPatience + scrape.Age/2} {
		synctest.Test(t, func(t *testing.T) {
			p := newWorkload(t, takes(15*time.Second))
			go p.scrape(t, "") // until 8 s
			time.Sleep(after)
			if took, app := p.scrape(t, "30"); took > 15*time.Second || !app {
				t.Errorf("after %v it takes %v, and has the application's part: %v", after, took, app)
			}
			time.Sleep(time.Minute)
		})
	}
}

// TestOneRequestHangs: a client that comes minPatience after the application began to hang in single requests gets the
// application's part, whatever others wait for, and so do those that have come before and still wait.
func TestOneRequestHangs(t *testing.T) {
	// All of maxReads but one may hang.
	for name, c := range map[string]struct {
		hanging int           // requests that hang
		after   time.Duration // when each client has the application's part
	}{
		"one": {1, minPatience},
		"two": {2, 2 * minPatience},
	} {
		for _, coming := range []time.Duration{100 * time.Millisecond, 1300 * time.Millisecond, 5 * time.Second} {
			synctest.Test(t, func(t *testing.T) {
				p := newWorkload(t, func(ctx context.Context, n int) {
					if n <= c.hanging {
						<-ctx.Done()
					}
				})
				began := time.Now()
				for range 60 * time.Second / coming {
					go func() {
						if took, app := p.scrape(t, "100"); !app {
							t.Errorf("%s: a client that waits for long lacks the application's part after %v", name, took)
						}
					}()
					go func() {
						came := time.Since(began)
						if took, app := p.scrape(t, ""); !app && came >= c.after {
							t.Errorf("%s: a client that comes after %v lacks the application's part after %v", name, came, took)
						}
					}()
					time.Sleep(coming)
				}
				time.Sleep(time.Minute)
				p.mu.Lock()
				defer p.mu.Unlock()
				if p.most > maxReads {
					t.Errorf("%s: %d scrapes at a time", name, p.most)
				}
			})
		}
	}
}

// TestReadsAreBounded: an application that always hangs has maxReads scrapes at a time, and none when no client waits.
func TestReadsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newWorkload(t, takes(never))
		for range 3000 {
			go p.scrape(t, "100")
			time.Sleep(130 * time.Millisecond) // so that none comes in the moment in which a read ends
		}
		time.Sleep(maxPatience + time.Second)
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.most != maxReads || p.running != 0 {
			t.Errorf("%d scrapes at a time, want %d; %d that no client waits for", p.most, maxReads, p.running)
		}
	})
}

// TestSecondRequestIsRefused: an application that answers one request at a time, and slowly, has its answer used although
// it refuses others meanwhile.
func TestSecondRequestIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, refused atomic.Int32
		s := &shared{read: func(ctx context.Context) *answer {
			defer running.Add(-1)
			if running.Add(1) > 1 {
				refused.Add(1)
				return &answer{err: errors.New("503")}
			}
			select {
			case <-time.After(20 * time.Second):
				return &answer{}
			case <-ctx.Done():
				return &answer{err: ctx.Err()}
			}
		}}
		var wg sync.WaitGroup
		for range 600 {
			wg.Go(func() {
				if a := s.get(t.Context(), maxPatience); a.err != nil {
					t.Errorf("a client gets no answer: %v", a.err)
				}
			})
			time.Sleep(100 * time.Millisecond)
		}
		wg.Wait()
		if n := refused.Load(); n == 0 || n > 10 {
			t.Errorf("the application has refused %d requests in a minute", n)
		}
		time.Sleep(time.Minute)
	})
}

// TestPanics: a panic of one part costs no more than that part of a page, and of the application nothing else.
func TestPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		panics := true
		p := NewPage(&Registry{}, func() {
			if panics {
				panic("a gauge")
			}
		}, source("envoy_a 1\n", nil), &App{Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("refused") }, URL: "http://app/"})
		p.app.read = func(context.Context) *answer { panic("a reader") }
		for _, want := range []int{http.StatusInternalServerError, http.StatusOK} {
			w := httptest.NewRecorder()
			p.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody))
			if w.Code != want || (want == http.StatusOK) != strings.HasPrefix(w.Body.String(), "envoy_a 1\n# The application's metrics are left out: ") {
				t.Errorf("%d, want %d: %s", w.Code, want, w.Body)
			}
			panics = false
			time.Sleep(2 * scrape.Age)
		}
	})
}

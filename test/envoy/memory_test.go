// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tulle.dev/tulle/internal/controlplane/model"
)

// upload is the length of the bodies of flood.
const upload = 1<<20 - 1000

// flood is a Gateway, and a client that sends uploads through it, on one connection, to an application
// that reads them as they come.
type flood struct {
	gateway *proxy
	outside *netns
	read    *atomic.Int64
	done    chan struct{}
	wg      sync.WaitGroup
}

func newFlood(t *testing.T, heap uint64) *flood {
	t.Helper()
	m := newMesh(t)
	m.ads.heap = heap
	bare := m.wire.plug(t, "198.18.9.20", false)
	web := service{name: "web", protocol: model.HTTP, transport: model.Plain, endpoints: []model.Endpoint{plain("198.18.9.20", 8080)}}
	return &flood{
		read:    readsAll(bare.listen(t, ":8080")),
		gateway: m.edge(t, "198.18.9.3", []string{"*"}, []model.Rule{{Backends: []model.WeightedBackend{web.to(1)}}}, web.backend(m)),
		outside: m.wire.plug(t, "198.18.9.30", false),
		done:    make(chan struct{}),
	}
}

// begin begins uploads, which do not end before done is closed.
func (f *flood) begin(t *testing.T, requests int) {
	c := client(f.outside, "h2")
	for range requests {
		f.wg.Go(func() {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://198.18.9.3/", io.NopCloser(&unfinished{upload, f.done}))
			if err != nil {
				t.Error(err)
				return
			}
			if resp, err := c.Do(r); err == nil {
				_ = resp.Body.Close()
			}
		})
	}
}

// TestUnansweredUploads: a Gateway keeps little of the bodies of requests that have no answer yet. All of
// them may be on one connection of one client.
func TestUnansweredUploads(t *testing.T) {
	const requests = 200
	f := newFlood(t, 0)
	before := f.gateway.allocated(t)
	f.begin(t, requests)
	eventually(t, 15*time.Second, func() error {
		if n := f.read.Load(); n < requests*upload {
			return fmt.Errorf("the application has read %d bytes", n)
		}
		return nil
	})
	if each := (f.gateway.allocated(t) - before) / requests; each > 128<<10 {
		t.Errorf("the Gateway keeps %d KiB for each request", each>>10)
	}
	close(f.done)
	f.wg.Wait()
}

// TestHeapLimit: a Gateway whose requests hold more than its memory ends some of them and takes no more,
// until they have ended.
func TestHeapLimit(t *testing.T) {
	f := newFlood(t, 48<<20)
	f.begin(t, 800)
	eventually(t, 10*time.Second, func() error {
		if f.gateway.stat(t, "overload.envoy.overload_actions.stop_accepting_requests.active") == 0 {
			return fmt.Errorf("with %d MiB in use it takes requests", f.gateway.allocated(t)>>20)
		}
		return nil
	})
	time.Sleep(time.Second) // what was accepted before
	before := f.gateway.allocated(t)
	f.begin(t, 900)
	time.Sleep(2 * time.Second)
	if after := f.gateway.allocated(t); after > before+16<<20 {
		t.Errorf("with a limit of 48 MiB the heap went from %d to %d MiB", before>>20, after>>20)
	}
	if n := f.gateway.stat(t, "^envoy.overload_actions.reset_high_memory_stream.count"); n == 0 {
		t.Error("no request was ended")
	}
	close(f.done)
	f.wg.Wait()
	eventually(t, 10*time.Second, func() error {
		resp, err := client(f.outside).Get("http://198.18.9.3/")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("afterwards a request gets %d", resp.StatusCode)
		}
		return nil
	})
}

// readsAll serves HTTP: it reads bodies to their ends, and counts the bytes.
func readsAll(l net.Listener) *atomic.Int64 {
	var read atomic.Int64
	s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b := make([]byte, 32<<10)
		for {
			n, err := r.Body.Read(b)
			read.Add(int64(n))
			if err != nil {
				return
			}
		}
	})}
	go func() { _ = s.Serve(l) }()
	return &read
}

// unfinished is a body of n bytes whose end comes when done is closed.
type unfinished struct {
	n    int
	done chan struct{}
}

func (u *unfinished) Read(p []byte) (int, error) {
	if u.n == 0 {
		<-u.done
		return 0, io.EOF
	}
	n := min(len(p), u.n)
	u.n -= n
	return n, nil
}

// allocated is the size of the proxy's heap, in bytes.
func (p *proxy) allocated(t *testing.T) int {
	t.Helper()
	b, err := p.get("/memory")
	if err != nil {
		t.Fatal(err)
	}
	var m struct{ Allocated string }
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(m.Allocated)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

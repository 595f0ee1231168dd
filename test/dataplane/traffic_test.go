// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package dataplane

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// serveWeb is the Service web in the peer: it wants mutual TLS and shows whom it saw.
func (p *pod) serveWeb() {
	p.t.Helper()
	l, err := p.peer.listen(0, fmt.Sprintf("%s:%d", peerIP, webPort))
	if err != nil {
		p.t.Fatal(err)
	}
	s := &http.Server{
		TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{p.control.ca.identity(p.t, spiffe("web"))},
			ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: p.control.ca.pool(), MinVersion: tls.VersionTLS13,
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			cert := r.TLS.PeerCertificates[0]
			if p.closing.Load() {
				w.Header().Set("Connection", "close")
			}
			p.seenByWeb.add(cert.SerialNumber.String())
			fmt.Fprintf(w, "web saw %s", cert.URIs[0])
		}),
	}
	go s.ServeTLS(l, "", "")
	p.t.Cleanup(func() { s.Close() })
}

// client sends from inside a space; keep is whether connections are used again.
func client(s *space, uid int, keep bool) *http.Client {
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: s.dialer(uid), DisableKeepAlives: !keep}}
}

// get gets a URL once: the body and a header of the answer.
func get(c *http.Client, url, header string) (body, value string, err error) {
	r, err := c.Get(url)
	if err != nil {
		return "", "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", r.Status, b)
	}
	return string(b), r.Header.Get(header), err
}

const (
	fromPeer = "http://" + podIP + ":8080/"
	fromPod  = "http://" + vip + "/"
)

// load is a bounded stream of requests until stop.
type load struct {
	stopped chan struct{}
	once    sync.Once
	wg      sync.WaitGroup
	sent    atomic.Int64
	failed  atomic.Int64
	mu      sync.Mutex
	errs    []string
}

// newLoad begins to send: into the pod and out of it, on kept and on new connections.
func newLoad(p *pod) *load {
	l := &load{stopped: make(chan struct{})}
	p.t.Cleanup(l.end)
	for _, c := range []struct {
		from *space
		url  string
	}{{p.peer, fromPeer}, {p.space, fromPod}} {
		for _, keep := range []bool{true, false} {
			for range 2 {
				l.wg.Add(1)
				go l.send(client(c.from, 1000, keep), c.url, keep)
			}
		}
	}
	return l
}

func (l *load) send(c *http.Client, url string, keep bool) {
	defer l.wg.Done()
	pace := time.NewTicker(2 * time.Millisecond)
	defer pace.Stop()
	for {
		select {
		case <-l.stopped:
			return
		case <-pace.C:
		}
		l.sent.Add(1)
		if _, _, err := get(c, url, ""); err != nil {
			l.failed.Add(1)
			l.mu.Lock()
			if len(l.errs) < 20 {
				l.errs = append(l.errs, fmt.Sprintf("%s %s keep-alive %v: %v", time.Now().Format("05.000"), url, keep, err))
			}
			l.mu.Unlock()
		}
	}
}

// during waits until at least so many more requests were sent.
func (l *load) during(n int64) {
	for until := l.sent.Load() + n; l.sent.Load() < until; {
		time.Sleep(10 * time.Millisecond)
	}
}

// end ends the stream.
func (l *load) end() {
	l.once.Do(func() { close(l.stopped) })
	l.wg.Wait()
}

// stop ends the stream and fails the test if a request failed.
func (l *load) stop(t *testing.T) {
	t.Helper()
	l.end()
	t.Logf("%d requests, %d failed", l.sent.Load(), l.failed.Load())
	if l.failed.Load() > 0 {
		t.Errorf("%d of %d requests failed:", l.failed.Load(), l.sent.Load())
		for _, e := range l.errs {
			t.Log(e)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package bounded

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const strangers = "strangers.example.com"

// clientHello is what a client begins a handshake with.
func clientHello(t *testing.T) []byte {
	t.Helper()
	client, server := net.Pipe()
	defer server.Close()
	go func() { _ = tls.Client(client, &tls.Config{ServerName: strangers}).Handshake() }()
	b := make([]byte, 16<<10)
	n, err := server.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

// TestHandshakes: strangers of one address, or of many, make TLS handshakes without a pause. The server performs as
// many as it may in the time, counts the rest, and answers another client each time at once.
func TestHandshakes(t *testing.T) {
	const length = 2 * time.Second
	rates := Rates{Address: Rate{PerSecond: 20, Burst: 50}, Total: Rate{PerSecond: 100, Burst: 200}}
	hello := clientHello(t)
	for _, addresses := range []int{1, 200} {
		t.Run(fmt.Sprint(addresses, " addresses"), func(t *testing.T) {
			var performed, refused, next, tried atomic.Int64
			srv := httptest.NewUnstartedServer(nil)
			srv.Config = NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), nil)
			srv.TLS = &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
				performed.Add(1)
				if h.ServerName == strangers {
					return nil, errors.New("that is all that is needed of it")
				}
				return nil, nil
			}}
			srv.Listener = Listen(srv.Listener, Connections{Total: 100, PerAddress: 50, Age: MaxAge, Write: Write, Rates: rates, Closed: func(reason string) {
				if reason == ReasonRate {
					refused.Add(1)
				}
			}})
			srv.StartTLS()
			defer srv.Close()
			addr, began := srv.Listener.Addr().String(), time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), length)
			defer cancel()
			config := &tls.Config{InsecureSkipVerify: true} //nolint:gosec // an attacker's
			var flood sync.WaitGroup
			for range 4 {
				flood.Go(func() {
					for ctx.Err() == nil {
						i := int(next.Add(1)) % addresses
						d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(fmt.Sprintf("127.0.1.%d", 1+i))}}
						c, err := d.DialContext(t.Context(), "tcp", addr)
						tried.Add(1)
						if err != nil {
							continue // closed already
						}
						_, _ = c.Write(hello)
						_, _ = c.Read(make([]byte, 1))
						c.Close()
					}
				})
			}
			asked := 0
			for ctx.Err() == nil {
				d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.9")}}
				client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DialContext: d.DialContext, TLSClientConfig: config, DisableKeepAlives: true}}
				resp, err := client.Get("https://" + addr)
				// Of as many addresses as this, each of which makes few handshakes on a slow machine, one more may have
				// to try again.
				for began := time.Now(); err != nil && addresses > 1 && time.Since(began) < time.Second; time.Sleep(10 * time.Millisecond) {
					resp, err = client.Get("https://" + addr)
				}
				if err != nil {
					t.Fatalf("a client with few connections, %d answers before: %v", asked, err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				asked++
				select {
				case <-ctx.Done():
				case <-time.After(length / 2):
				}
			}
			flood.Wait()
			most := rates.Total.Burst + time.Since(began).Seconds()*rates.Total.PerSecond
			if addresses == 1 {
				most = rates.Address.Burst + time.Since(began).Seconds()*rates.Address.PerSecond + float64(asked)
			}
			t.Logf("%d handshakes were tried, %d refused, %d performed, %.0f allowed", tried.Load(), refused.Load(), performed.Load(), most)
			if float64(performed.Load()) > most || refused.Load() < performed.Load() {
				t.Error("the handshakes are not bounded, or that was no flood")
			}
		})
	}
}

// deadlines notes the deadline of writes.
type deadlines struct {
	net.Conn
	write time.Time
}

func (d *deadlines) SetWriteDeadline(t time.Time) error { d.write = t; return nil }
func (d *deadlines) SetReadDeadline(time.Time) error    { return nil }
func (d *deadlines) Write(b []byte) (int, error)        { return len(b), nil }

// TestWrites: a write ends when the client takes too long for it, or when the server has set an earlier end.
func TestWrites(t *testing.T) {
	raw := &deadlines{}
	c := &Conn{Conn: raw, l: &listener{most: Connections{Write: Write}}, place: NewPool(1, 1).Enter(netip.Addr{}, func() {})}
	write := func() time.Duration {
		t.Helper()
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		return time.Until(raw.write)
	}
	if left := write(); left > Write || left < Write/2 {
		t.Errorf("a write may take %v", left)
	}
	for _, set := range []func(time.Time) error{c.SetWriteDeadline, c.SetDeadline} {
		_ = set(time.Now().Add(Write / 4))
		if left := write(); left > Write/4 {
			t.Errorf("a write may take %v after the server's own end", left)
		}
		_ = set(time.Time{})
		if left := write(); left > Write || left < Write/2 {
			t.Errorf("without an end of the server a write may take %v", left)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package intake

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"tulle.dev/tulle/internal/bounded"
)

// large is more than a connection may hold without a pass.
const large = 90 << 10

// connect is a peer's connection.
func connect(in *Intake, address netip.Addr, namespace string) *conn {
	a, _ := net.Pipe()
	return &conn{Conn: a, in: in, client: bounded.Client{Address: address, Group: namespace}, gone: make(chan struct{})}
}

// attack begins a request again and again that does not end, until stop is closed. It returns for how long that had
// passes in all.
func attack(in *Intake, address netip.Addr, namespace string, stop <-chan struct{}) func() time.Duration {
	var had time.Duration
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c := connect(in, address, namespace)
			if c.take(large, 1) == nil {
				began := time.Now()
				select {
				case <-c.gone:
				case <-stop:
				}
				had += time.Since(began)
			}
			_ = c.Close()
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	return func() time.Duration { <-ended; return had }
}

// request is a large request of a client that sends it in a tenth of a second. It returns how long that took.
func request(t *testing.T, in *Intake, address netip.Addr, namespace string) time.Duration {
	t.Helper()
	began := time.Now()
	c := connect(in, address, namespace)
	defer func() { _ = c.Close() }()
	if err := c.take(large, 1); err != nil {
		t.Errorf("a request of %s in %s: %v after %v", address, namespace, err, time.Since(began))
		return 0
	}
	time.Sleep(100 * time.Millisecond)
	c.handled(large)
	return time.Since(began)
}

// TestOnePodHasOnePass: however many connections a pod has, it has one pass at a time, and in the long run for a
// sixth of the time; another pod's request does not wait for it.
func TestOnePodHasOnePass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := New(Options{Request: func() int { return 8 << 20 }})
		evil := netip.MustParseAddr("10.0.0.66")
		stop := make(chan struct{})
		var had []func() time.Duration
		for range connections {
			had = append(had, attack(in, evil, "evil", stop))
		}
		began := time.Now()
		for time.Since(began) < time.Hour {
			time.Sleep(time.Minute)
			if n := in.large.Taken(); n > 1 {
				t.Fatalf("one pod has %d passes", n)
			}
			if took := request(t, in, netip.MustParseAddr("10.0.0.1"), "shop"); took > 200*time.Millisecond {
				t.Errorf("another pod's request takes %v", took)
			}
		}
		close(stop)
		all := time.Duration(0)
		for _, f := range had {
			all += f()
		}
		if share := all.Seconds() / time.Since(began).Seconds(); share > 1.0/passPart+0.02 || share < 0.1 {
			t.Errorf("it had a pass for %.3f of the time", share)
		}
	})
}

// TestManyPodsHoldPasses: pods of one namespace that begin requests on many connections and do not end them delay
// another namespace's requests for the time of a pass at most, and pods of their own that used less.
func TestManyPodsHoldPasses(t *testing.T) {
	for _, namespace := range []string{"shop", "evil"} {
		t.Run(namespace, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in := New(Options{Request: func() int { return 8 << 20 }})
				stop := make(chan struct{})
				for i := range 48 {
					for range 5 {
						attack(in, netip.AddrFrom4([4]byte{10, 1, 0, byte(i)}), "evil", stop)
					}
				}
				time.Sleep(5 * time.Minute)
				for i := range 50 { // each pod has its first large request
					if took := request(t, in, netip.AddrFrom4([4]byte{10, 2, 0, byte(i)}), namespace); took > passTime+time.Second {
						t.Errorf("request %d takes %v", i, took)
					}
				}
				close(stop)
				synctest.Wait()
			})
		})
	}
}

// TestFreshPodsHoldPasses: pods that never had a pass, of a namespace that had many, do not come before those of
// another namespace.
func TestFreshPodsHoldPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := New(Options{Request: func() int { return 8 << 20 }})
		stop := make(chan struct{})
		for i := range 1000 {
			attack(in, netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), "evil", stop)
		}
		time.Sleep(15 * time.Second)
		for range 20 {
			if took := request(t, in, netip.MustParseAddr("10.2.0.1"), "shop"); took > passTime+time.Second {
				t.Errorf("it takes %v", took)
			}
		}
		close(stop)
		synctest.Wait()
	})
}

// TestMeshComesBack: two thousand agents of a few namespaces with large requests at once all get through in
// little more than the time that these take, also those of a pod with many connections.
func TestMeshComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := New(Options{Request: func() int { return 8 << 20 }})
		began := time.Now()
		for i := range 2000 {
			go request(t, in, netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), fmt.Sprint("ns-", i%5))
		}
		for range connections {
			go request(t, in, netip.MustParseAddr("10.2.0.1"), "clients")
		}
		for in.large.Taken() > 0 || time.Since(began) < time.Second {
			time.Sleep(time.Second)
		}
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("it takes %v", took)
		}
	})
}

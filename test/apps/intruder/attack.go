// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// attacks are loads on the ADS port that one meshed pod can make with its own certificate. Each is one
// stream's, returns when the stream has ended, and is begun again until the time is over.
var attacks = map[string]func(context.Context, *attacker) error{
	"names": manyNames, "loop": loop, "metadata": metadata, "idle": idle, "unfinished": unfinished, "reconnect": reconnect,
}

// attacker is one of the streams of an attack.
type attacker struct {
	d      dialer
	cert   *tls.Certificate
	number int
	count  *counts
}

// counts are of all streams.
type counts struct {
	mu                      sync.Mutex
	Streams, Requests, Sent int
	Ended                   map[string]int // by gRPC code
}

func (c *counts) sent(bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Requests++
	c.Sent += bytes
}

// attack runs one attack with that many streams at a time and returns what happened.
func (d dialer) attack(cert *tls.Certificate, what string, streams int, last time.Duration) (*counts, error) {
	f := attacks[what]
	if f == nil {
		return nil, fmt.Errorf("there is no attack %q", what)
	}
	ctx, cancel := context.WithTimeout(context.Background(), last)
	defer cancel()
	c := &counts{Ended: map[string]int{}}
	var wg sync.WaitGroup
	for i := range streams {
		wg.Go(func() {
			for ctx.Err() == nil {
				err := f(ctx, &attacker{d, cert, i, c})
				c.mu.Lock()
				c.Streams++
				c.Ended[status.Code(err).String()]++
				c.mu.Unlock()
				select {
				case <-time.After(100 * time.Millisecond): // as an agent does
				case <-ctx.Done():
				}
			}
		})
	}
	wg.Wait()
	return c, nil
}

// open opens a stream on a connection of its own. Responses are read and not answered.
func (a *attacker) open(ctx context.Context) (send func([]byte) error, end func(), err error) {
	conn, err := a.d.connect(a.cert)
	if err != nil {
		return nil, nil, err
	}
	st, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true},
		discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResources_FullMethodName, grpc.ForceCodec(rawCodec{}))
	if err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	ended := make(chan error, 1)
	go func() {
		for {
			if err := st.RecvMsg(&raw{}); err != nil {
				ended <- err
				return
			}
		}
	}()
	send = func(b []byte) error {
		err := st.SendMsg(&raw{b})
		if err == nil {
			a.count.sent(len(b))
			return nil
		}
		if errors.Is(err, io.EOF) {
			err = <-ended
		}
		return err
	}
	return send, func() { _ = conn.Close() }, nil
}

// repeat sends what next returns until the stream ends.
func (a *attacker) repeat(ctx context.Context, next func(i int) []byte) error {
	send, end, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer end()
	for i := 0; ; i++ {
		if err := send(next(i)); err != nil {
			return err
		}
	}
}

func encode(r *discoveryv3.DeltaDiscoveryRequest) []byte {
	b, err := proto.Marshal(r)
	if err != nil {
		panic(err) // of our own making
	}
	return b
}

// long are names of Services that there are not, as long as a name may be.
func (a *attacker) long(from, n int) []string {
	l := make([]string, n)
	for i := range l {
		l[i] = fmt.Sprintf("out/evil-%d-%d-%s/x/80", a.number, from+i, strings.Repeat("x", 900))
	}
	return l
}

// manyNames subscribes to ever more long names.
func manyNames(ctx context.Context, a *attacker) error {
	return a.repeat(ctx, func(i int) []byte {
		return encode(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: types["cluster"], ResourceNamesSubscribe: a.long(i*1000, 1000)})
	})
}

// loop subscribes to ten thousand names and unsubscribes from them, for ever.
func loop(ctx context.Context, a *attacker) error {
	l := make([]string, 10_000)
	for i := range l {
		l[i] = fmt.Sprintf("out/evil/service-%d-%d/80", a.number, i)
	}
	on := encode(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: types["cluster"], ResourceNamesSubscribe: l})
	off := encode(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: types["cluster"], ResourceNamesUnsubscribe: l})
	return a.repeat(ctx, func(i int) []byte {
		if i%2 == 0 {
			return on
		}
		return off
	})
}

// metadata sends nodes that become twenty times as large when they are decoded.
func metadata(ctx context.Context, a *attacker) error {
	message := func(field protowire.Number, b []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, field, protowire.BytesType), b)
	}
	values := slices.Repeat([]byte{1<<3 | 2, 0}, 3<<20)
	entry := append(message(1, []byte("TULLE_SLOT")), message(2, message(6, values))...)
	bomb := append(message(1, message(3, message(1, entry))), message(2, []byte(types["cluster"]))...)
	return a.repeat(ctx, func(int) []byte { return bomb })
}

// idle says much of itself and stays.
func idle(ctx context.Context, a *attacker) error {
	send, end, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer end()
	b := encode(&discoveryv3.DeltaDiscoveryRequest{Node: &corev3.Node{Id: strings.Repeat("i", 2000)}, TypeUrl: types["cluster"], ResourceNamesSubscribe: []string{"out/evil/x/80"}})
	for {
		if err := send(b); err != nil {
			return err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// reconnect opens streams and leaves.
func reconnect(ctx context.Context, a *attacker) error {
	send, end, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer end()
	return send(encode(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: types["cluster"], ResourceNamesSubscribe: a.long(0, 500)}))
}

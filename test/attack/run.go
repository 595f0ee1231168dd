// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package attack

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"slices"
	"sync"
	"time"
)

// Port is a port with the attacks on it.
type Port struct {
	// Name is the URL that it was made of.
	Name string
	Target
	Attacks []Attack
}

// At returns the port of a URL without a path: http://HOST:PORT, https://, agent:// (a port of an agent), or
// tcp:// (any other port).
func At(address string) (Port, error) {
	u, err := url.Parse(address)
	if err != nil {
		return Port{}, err
	}
	if u.Port() == "" {
		return Port{}, fmt.Errorf("%q has no port", address)
	}
	p := Port{Name: address}
	p.Dial = func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", u.Host) }
	switch u.Scheme {
	case "http":
		p.Attacks = slices.Concat(HTTP2(), HTTP1(), TCP())
	case "https":
		p.Attacks = slices.Concat(HTTP2(), HTTP1(), TCP())
		with := func(protocol string) dial {
			return func(ctx context.Context) (net.Conn, error) {
				return (&tls.Dialer{Config: client(protocol)}).DialContext(ctx, "tcp", u.Host)
			}
		}
		p.HTTP1, p.HTTP2 = with("http/1.1"), with("h2")
	case "agent":
		p.Attacks = slices.Concat(Agent(), HTTP1(), TCP())
	case "tcp":
		p.Attacks = TCP()
	default:
		return Port{}, fmt.Errorf("%q: the scheme must be http, https, agent or tcp", address)
	}
	return p, nil
}

// Options bound a run of attacks.
type Options struct {
	// For is how long the run lasts.
	For time.Duration
	// Rate is what a flood may send in a second, in small frames; a request or a connection is as much as 20
	// of them. The attacks that are no floods may send an eighth of that each.
	Rate int
	// Connections and Held are those of each attack; see Target. What is held is divided among the ports.
	Connections, Held int
}

// Run attacks the ports and returns what each attack did, by "URL: attack". The attacks that hold something
// last for the whole time, all at once; the floods take turns.
func Run(ctx context.Context, o Options, ports ...Port) map[string]Done {
	ctx, cancel := context.WithTimeout(ctx, o.For)
	defer cancel()
	counts := map[string]*Count{}
	var floods []func(context.Context)
	var all sync.WaitGroup
	for _, p := range ports {
		for _, a := range p.Attacks {
			to, count := p.Target, &Count{}
			to.Count, counts[p.Name+": "+a.Name] = count, count
			to.Connections, to.Held, to.Pace = o.Connections, max(1, o.Held/len(ports)), NewPace(max(1, o.Rate/8))
			if a.Flood {
				to.Pace = NewPace(o.Rate)
				floods = append(floods, func(ctx context.Context) { a.Do(ctx, to) })
				continue
			}
			all.Go(func() { a.Do(ctx, to) })
		}
	}
	deadline, _ := ctx.Deadline()
	for i, f := range floods {
		turn, over := context.WithTimeout(ctx, time.Until(deadline)/time.Duration(len(floods)-i))
		f(turn)
		over()
	}
	<-ctx.Done()
	all.Wait()
	done := map[string]Done{}
	for what, c := range counts {
		done[what] = c.Done()
	}
	return done
}

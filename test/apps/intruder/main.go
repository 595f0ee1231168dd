// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Command intruder is a meshed pod gone bad: with its own valid token and with
// others it asks the control plane for what it must not get, and prints what
// it got as one JSON object, by attempt. It makes each attempt once and ends.
//
// With -attack it puts load on the ADS port instead, for as long as -for says, and prints how many
// requests it sent and how its streams ended.
//
// With -at it attacks ports of proxies instead, without any credentials: see package
// tulle.dev/tulle/test/attack. It prints how many connections and requests each attack made.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"
)

// options come from flags and, for the pod's own facts, from its environment.
type options struct {
	host                         string
	pod, uid                     string
	token, otherAudience, trust  string
	stolen, stolenPod, stolenUID string
	names                        []string
	attack                       string
	streams                      int
	last                         time.Duration
	at                           string
	rate, connections, held      int
}

func main() {
	o := options{pod: os.Getenv("POD_NAME"), uid: os.Getenv("POD_UID")}
	names := ""
	flag.StringVar(&o.host, "host", "tulle-controlplane.tulle-system.svc", "the control plane")
	flag.StringVar(&o.token, "token", "/tokens/mesh", "file with the pod's own token for the mesh")
	flag.StringVar(&o.otherAudience, "other-audience", "/tokens/other", "file with the pod's token for another audience")
	flag.StringVar(&o.trust, "trust", "/trust/ca.crt", "file with the mesh's roots")
	flag.StringVar(&o.stolen, "stolen", "", "token of another pod")
	flag.StringVar(&o.stolenPod, "stolen-pod", "", "that pod's name")
	flag.StringVar(&o.stolenUID, "stolen-uid", "", "that pod's UID")
	flag.StringVar(&names, "names", "", "xDS resources to ask for: TYPE=NAME, comma-separated; TYPE is listener, cluster, secret or scope")
	flag.StringVar(&o.attack, "attack", "", "the load to make: names, loop, metadata, idle, unfinished or reconnect")
	flag.IntVar(&o.streams, "streams", 20, "streams of the attack at a time")
	flag.DurationVar(&o.last, "for", time.Minute, "how long the attack lasts")
	flag.StringVar(&o.at, "at", "", "ports of proxies to attack, comma-separated: http://HOST:PORT, https://, agent:// (a port of an agent) or tcp:// (any other port)")
	flag.IntVar(&o.rate, "rate", 8000, "with -at: what a flood may send in a second, in small frames; a request or a connection is as much as 20 of them")
	flag.IntVar(&o.connections, "connections", 8, "with -at: connections of an attack that sends much on each of them")
	flag.IntVar(&o.held, "held", 300, "with -at: connections of an attack that sends little on each of them, for all ports together")
	flag.Parse()
	o.names = strings.Split(names, ",")
	var out any
	var err error
	switch {
	case o.at != "":
		out, err = attackPorts(o)
	case o.attack != "":
		out, err = attackWith(o)
	default:
		out, err = attempts(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "intruder:", err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
		os.Exit(1)
	}
}

func attackWith(o options) (*counts, error) {
	s, err := newSigner(o)
	if err != nil {
		return nil, err
	}
	cert, _, err := s.certificate()
	if err != nil {
		return nil, err
	}
	return dialer{host: o.host, roots: s.roots}.attack(&cert, o.attack, o.streams, o.last)
}

func attempts(o options) (map[string]string, error) {
	s, err := newSigner(o)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for name, a := range s.attempts() {
		out["sign: "+name] = s.ask(a)
	}
	cert, leaf, err := s.certificate()
	if err != nil {
		return nil, err
	}
	uris := []string{}
	for _, u := range leaf.URIs {
		uris = append(uris, u.String())
	}
	out["identity"] = strings.Join(uris, " ")
	d := dialer{host: o.host, roots: s.roots}
	out["ads: no certificate"] = d.garbage(nil, nil)
	out["ads: garbage"] = d.garbage(&cert, []byte("\xff\xff not a request"))
	for _, n := range o.names {
		got, err := d.fetch(&cert, n)
		if err != nil {
			got = "error: " + err.Error()
		}
		out["ads: "+n] = got
	}
	return out, nil
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package dataplane

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"
	"time"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

func TestStart(t *testing.T) {
	p := newPod(t)
	began := time.Now()
	p.start("a")
	p.hook("a", "hold-start")
	t.Logf("ready after %v", time.Since(began))
	if s := p.state("a"); s.Phase != protocol.PhaseReady || s.Version != "test" {
		t.Errorf("after wait slot a is %+v, want Ready", s)
	}
	p.start("b")
	p.hook("b", "wait") // a pod of an earlier release; it returns: the other slot serves
	p.eventually("slot b is the standby", 5*time.Second, p.phase("b", protocol.PhaseStandby))

	body, from, err := get(client(p.peer, 0, false), fromPeer, "X-Seen-From")
	if err != nil || body != "app" || from != names.InboundSource {
		t.Errorf("plaintext into the pod: %q from %q, %v; want the app, reached by the inbound proxy", body, from, err)
	}
	body, version, err := get(client(p.space, 1000, false), fromPod, "X-Config")
	if want := "web saw " + spiffe("cart"); err != nil || body != want || version != "v1" {
		t.Errorf("out of the pod: %q, config %q, %v; want %q, v1", body, version, err, want)
	}
	peer := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DialContext: p.peer.dialer(0),
		TLSClientConfig: &tls.Config{
			Certificates: []tls.Certificate{p.control.ca.identity(t, spiffe("web"))},
			// The name is no name of a certificate; who answers is checked below.
			InsecureSkipVerify: true, ServerName: names.SNIOf("shop", "cart", 80),
		},
	}}
	r, err := peer.Get("https://" + podIP + ":8080/")
	if err != nil {
		t.Fatalf("mutual TLS into the pod: %v", err)
	}
	defer r.Body.Close()
	if id := r.TLS.PeerCertificates[0].URIs[0].String(); r.StatusCode != http.StatusOK || id != spiffe("cart") {
		t.Errorf("mutual TLS into the pod: %s from %s, want 200 from %s", r.Status, id, spiffe("cart"))
	}
	if body, _, err := get(client(p.peer, 0, false), "http://"+podIP+":15021/ready", ""); err != nil || body != "Ready\n" {
		t.Errorf("readiness: %q, %v", body, err)
	}
}

// controlPlaneName is a name of the control plane, which no resolver of the test knows.
const controlPlaneName = "tulle-controlplane.tulle-system.svc"

// TestStartWithoutResolver: a pod that can resolve no name (dnsPolicy None, say) starts by the addresses
// that it finds beside the roots. They are read for each connection: one that nothing answers at, as a
// Service that was deleted and created again leaves behind, is passed over, and replaced when the kubelet
// replaces the file.
func TestStartWithoutResolver(t *testing.T) {
	p := newPod(t)
	p.host = controlPlaneName
	p.secret(protocol.AddressesFile, "198.18.20.99\n")
	p.start("a")
	p.eventually("the slot says what it waits for", 30*time.Second, func() bool {
		said := p.state("a").Message
		return strings.Contains(said, "198.18.20.99:15012") && strings.Contains(said, controlPlaneName)
	})
	p.secret(protocol.AddressesFile, "198.18.20.99\n"+peerIP+"\n")
	p.hook("a", "hold-start")
	body, _, err := get(client(p.space, 1000, false), fromPod, "X-Config")
	if err != nil || !strings.HasPrefix(body, "web saw") {
		t.Errorf("out of the pod: %q, %v", body, err)
	}
}

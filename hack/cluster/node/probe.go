// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"tulle.dev/tulle/hack/cluster/layout"
	"tulle.dev/tulle/hack/cluster/render"
)

// prober asks components whether they work. It is safe for concurrent use.
type prober struct{ client *http.Client }

func newProber(l layout.Layout) (*prober, error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(l.PKI(), "admin.crt"), filepath.Join(l.PKI(), "admin.key"))
	if err != nil {
		return nil, fmt.Errorf("load the administrator's certificate: %w", err)
	}
	ca, err := os.ReadFile(filepath.Join(l.PKI(), "ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("load the authority: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return &prober{&http.Client{
		Timeout: 5 * time.Second,
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots},
			// A kept connection could outlive the process that it leads to.
			DisableKeepAlives: true,
		},
	}}, nil
}

func (p *prober) ask(ctx context.Context, probe render.Probe) error {
	switch {
	case probe.Unix != "":
		return dial(ctx, "unix", probe.Unix)
	case probe.TCP != "":
		return dial(ctx, "tcp", probe.TCP)
	case probe.HTTP != "":
		return p.get(ctx, probe.HTTP)
	case probe.HTTPS != "":
		return p.get(ctx, probe.HTTPS)
	}
	return nil
}

func (p *prober) get(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return nil
}

func dial(ctx context.Context, network, address string) error {
	d := net.Dialer{Timeout: time.Second}
	c, err := d.DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	return c.Close()
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package ca

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"

	"tulle.dev/tulle/internal/bounded"
	"tulle.dev/tulle/internal/protocol"
)

// TestSlowRequests: requests from many addresses that are announced and don't come, as many as there is
// memory for, hold a certificate up for a moment only.
func TestSlowRequests(t *testing.T) {
	d := newDesk(t, func(o *SignerOptions) { o.AnyAddress = func() bool { return true } })
	srv := httptest.NewUnstartedServer(nil)
	srv.Config = bounded.NewServer(d.signer, nil)
	srv.Listener = bounded.Listen(srv.Listener, bounded.Connections{Total: 400, PerAddress: 40, Age: bounded.MaxAge})
	srv.Start()
	defer srv.Close()
	addr := srv.Listener.Addr().String()
	for i := range 300 {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(fmt.Sprintf("127.0.1.%d", 1+i%10))}}
		c, err := dialer.DialContext(t.Context(), "tcp", addr)
		must(t, err)
		defer c.Close()
		_, err = fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\nContent-Length: %d\r\n\r\n{", protocol.SignPath, protocol.MaxSignRequest)
		must(t, err)
	}
	body, err := json.Marshal(protocol.SignRequest{CSR: csrOf(t, d.key), Pod: "web-1", PodUID: "uid-1"})
	must(t, err)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+protocol.SignPath, bytes.NewReader(body))
	must(t, err)
	req.Header.Set("Authorization", "Bearer jwt-good")
	began := time.Now()
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	resp.Body.Close()
	if took := time.Since(began); resp.StatusCode != http.StatusOK || took > wait {
		t.Errorf("%d after %v", resp.StatusCode, took)
	}
}

// TestShapeOfRequests: a request of more parts than one has is refused before it is decoded.
func TestShapeOfRequests(t *testing.T) {
	d := newDesk(t, nil)
	for name, body := range map[string]string{
		"deep":     strings.Repeat("[", 10_000),
		"elements": `{"x":[` + strings.Repeat("{},", 5000) + `{}]}`,
	} {
		w, _ := d.ask(call{body: body})
		if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "more than") {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}

// awayAPI is an API server that does not answer.
type awayAPI struct {
	authenticationclient.TokenReviewInterface
	deadline time.Time
}

func (a *awayAPI) Create(ctx context.Context, _ *authenticationv1.TokenReview, _ metav1.CreateOptions) (*authenticationv1.TokenReview, error) {
	a.deadline, _ = ctx.Deadline()
	return nil, context.DeadlineExceeded
}

// TestReviewEnds: an API server that does not answer holds a place for a review for seconds only.
func TestReviewEnds(t *testing.T) {
	a := &awayAPI{}
	if _, _, err := NewTokenReviews(a).Review(t.Context(), "tok", "aud"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if left := time.Until(a.deadline); left <= 0 || left > reviewTimeout {
		t.Errorf("a review may take %v", left)
	}
}

// FuzzCSR: whatever a certificate request holds, looking at it ends soon, and a key is only taken from a request
// that is signed with it.
func FuzzCSR(f *testing.F) {
	d := newDesk(f, nil)
	block, _ := pem.Decode([]byte(csrOf(f, d.key)))
	f.Add(block.Bytes)
	f.Add([]byte{0x30, 0x80})
	f.Add(block.Bytes[:len(block.Bytes)/2])
	f.Fuzz(func(t *testing.T, der []byte) {
		if len(der) > protocol.MaxSignRequest {
			return
		}
		began := time.Now()
		key, err := publicKey(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})))
		if (key == nil) == (err == nil) {
			t.Errorf("%v, %v", key, err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("took %v", took)
		}
	})
}

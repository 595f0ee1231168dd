// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package load

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"tulle.dev/tulle/test/apps/report"
)

// outcome is what became of one request.
type outcome struct {
	status string         // "200", "OK", "echo"
	failed string         // why, empty for a success
	report *report.Report // nil when the answer was none
}

// sender sends one request; one sender belongs to one worker.
type sender interface {
	send(ctx context.Context) outcome
	close()
}

// newSender makes the sender that a worker uses. HTTP workers share a transport, so that
// keep-alive means what a client with a pool does.
func (o Options) newSender(u *url.URL, shared *http.Transport) sender {
	switch u.Scheme {
	case "grpc":
		return &grpcSender{target: u.Host, method: u.Path, fresh: o.NewConnections, hold: o.Hold}
	case "tcp", "banner":
		return &tcpSender{target: u.Host, first: u.Scheme == "banner", fresh: o.NewConnections || o.Hold > 0, hold: o.Hold}
	}
	return &httpSender{client: &http.Client{Transport: shared, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}, method: o.Method, url: o.URL, host: o.Host, headers: o.Headers}
}

func (o Options) transport() *http.Transport {
	p := new(http.Protocols)
	p.SetHTTP1(!o.HTTP2)
	p.SetUnencryptedHTTP2(o.HTTP2)
	return &http.Transport{
		DisableKeepAlives:   o.NewConnections,
		MaxIdleConnsPerHost: o.Workers,
		Protocols:           p,
		TLSClientConfig:     &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // measures load, trusts nobody with anything
	}
}

type httpSender struct {
	client            *http.Client
	method, url, host string
	headers           http.Header
}

func (s *httpSender) send(ctx context.Context) outcome {
	req, err := http.NewRequestWithContext(ctx, s.method, s.url, nil)
	if err != nil {
		return outcome{failed: reason(err)}
	}
	for name, values := range s.headers {
		req.Header[name] = values
	}
	req.Host = s.host
	res, err := s.client.Do(req)
	if err != nil {
		return outcome{failed: reason(err)}
	}
	defer res.Body.Close()
	out := outcome{status: strconv.Itoa(res.StatusCode)}
	body, err := io.ReadAll(io.LimitReader(res.Body, 4<<20))
	if err != nil {
		out.failed = "body: " + reason(err)
		return out
	}
	if r, err := report.Parse(body); err == nil && r.Service != "" {
		out.report = &r
	}
	if res.StatusCode >= 400 {
		out.failed = "status " + out.status
		if out.report == nil && len(body) > 0 {
			out.failed += ": " + clip(string(body))
		}
	}
	return out
}

func (s *httpSender) close() { s.client.CloseIdleConnections() }

type grpcSender struct {
	target, method string
	fresh          bool
	hold           time.Duration
	conn           *grpc.ClientConn
}

func (s *grpcSender) send(ctx context.Context) outcome {
	if s.conn == nil {
		conn, err := grpc.NewClient(s.target, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return outcome{failed: reason(err)}
		}
		s.conn = conn
	}
	r, err := s.call(ctx)
	if s.fresh {
		s.close()
	}
	if err != nil {
		st, _ := status.FromError(err)
		return outcome{status: st.Code().String(), failed: st.Code().String() + ": " + clip(st.Message())}
	}
	return outcome{status: codes.OK.String(), report: &r}
}

func (s *grpcSender) call(ctx context.Context) (r report.Report, err error) {
	if s.hold == 0 {
		return report.Invoke(ctx, s.conn, s.method)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := report.OpenStream(ctx, s.conn, s.method)
	if err != nil {
		return r, err
	}
	err = repeat(ctx, s.hold, func() (err error) {
		r, err = stream.Ask()
		return err
	})
	if err != nil {
		return r, err
	}
	return r, stream.Close()
}

// repeat does something at once, and again ten times a second until the time is over.
func repeat(ctx context.Context, d time.Duration, do func() error) error {
	begin := time.Now()
	for at, end := begin, begin.Add(d); ; at = at.Add(100 * time.Millisecond) {
		if !sleepUntil(ctx, at) {
			return ctx.Err()
		}
		if err := do(); err != nil || !at.Before(end) {
			return err
		}
	}
}

func (s *grpcSender) close() {
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
}

type tcpSender struct {
	target       string
	first, fresh bool
	hold         time.Duration
	conn         net.Conn
	in           *bufio.Reader
}

func (s *tcpSender) send(ctx context.Context) outcome {
	out, err := s.exchange(ctx)
	if err != nil {
		s.close()
		out.failed = reason(err)
		return out
	}
	if s.fresh {
		s.close()
	}
	return out
}

// exchange reads the banner of a new connection, sends a line and reads it back, or many.
func (s *tcpSender) exchange(ctx context.Context) (outcome, error) {
	if s.conn == nil {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.target)
		if err != nil {
			return outcome{}, err
		}
		s.conn, s.in = conn, bufio.NewReader(conn)
		s.deadline(ctx)
		if s.first {
			if _, err := s.in.ReadString('\n'); err != nil {
				return outcome{}, fmt.Errorf("banner: %w", err)
			}
		}
	}
	s.deadline(ctx)
	out := outcome{}
	err := repeat(ctx, s.hold, func() (err error) {
		out, err = s.line()
		return err
	})
	return out, err
}

func (s *tcpSender) line() (outcome, error) {
	const line = "the quick brown fox\n"
	if _, err := io.WriteString(s.conn, line); err != nil {
		return outcome{}, err
	}
	got, err := s.in.ReadString('\n')
	if err != nil {
		return outcome{}, err
	}
	if got != line {
		return outcome{status: "garbled"}, fmt.Errorf("another line came back than was sent")
	}
	return outcome{status: "echo"}, nil
}

func (s *tcpSender) deadline(ctx context.Context) {
	if end, ok := ctx.Deadline(); ok {
		_ = s.conn.SetDeadline(end) // a dead connection shows at the next read
	}
}

func (s *tcpSender) close() {
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
}

// reason is an error without what differs from request to request (addresses, URLs), so that
// equal failures are counted together.
func reason(err error) string {
	if ue, ok := err.(*url.Error); ok { //nolint:errorlint // only the outermost repeats the URL
		err = ue.Err
	}
	if ctxErr := context.DeadlineExceeded; strings.Contains(err.Error(), ctxErr.Error()) {
		return "timeout"
	}
	s := err.Error()
	if i := strings.Index(s, "->"); i >= 0 {
		if j := strings.Index(s[i:], ": "); j >= 0 {
			s = strings.Fields(s)[0] + s[i+j:]
		}
	}
	return clip(s)
}

func clip(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 160 {
		return s[:160] + "…"
	}
	return s
}

// sleepUntil waits for a moment; false when ctx ended first.
func sleepUntil(ctx context.Context, at time.Time) bool {
	wait := time.Until(at)
	if wait <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Client is the client of the image echo-advanced: it sends one request, or
// many one after the other, and prints what came back. Redirections are not
// followed. A request that gets no answer ends it with an error.
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"tulle.dev/tulle/test/apps/advanced"
)

type options struct {
	method  string
	headers []string
	count   int
	timeout time.Duration
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	c := &cobra.Command{
		Use: "client URL", Short: "Send requests to http://HOST[:PORT]/PATH or grpc://HOST:PORT", Args: cobra.ExactArgs(1), SilenceUsage: true,
		RunE: func(c *cobra.Command, args []string) error { return run(c.Context(), args[0], o, c.OutOrStdout()) },
	}
	f := c.Flags()
	f.StringVar(&o.method, "method", "GET", "method of HTTP")
	f.StringArrayVarP(&o.headers, "header", "H", nil, "header as name:value; Host sets the authority")
	f.IntVar(&o.count, "count", 1, "how many requests, one after the other")
	f.DurationVar(&o.timeout, "timeout", 5*time.Second, "how long each may take")
	if err := c.ExecuteContext(ctx); err != nil {
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, target string, o options, out io.Writer) error {
	u, err := url.Parse(target)
	if err != nil {
		return fmt.Errorf("read the URL: %w", err)
	}
	h, err := parse(o.headers)
	if err != nil {
		return err
	}
	var ask func(context.Context) (string, error)
	switch u.Scheme {
	case "http":
		client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		ask = func(ctx context.Context) (string, error) { return askHTTP(ctx, client, u, o.method, h) }
	case "grpc":
		conn, err := grpc.NewClient("passthrough:///"+u.Host, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return fmt.Errorf("prepare gRPC: %w", err)
		}
		defer conn.Close()
		ask = func(ctx context.Context) (string, error) { return askGRPC(ctx, conn, h) }
	default:
		return fmt.Errorf("scheme %q: only http and grpc are known", u.Scheme)
	}
	for range max(o.count, 1) {
		one, cancel := context.WithTimeout(ctx, o.timeout)
		text, err := ask(one)
		cancel()
		if err != nil {
			return err
		}
		fmt.Fprintln(out, text) // the blank line parts one answer from the next
	}
	return nil
}

func parse(lines []string) (http.Header, error) {
	h := http.Header{}
	for _, l := range lines {
		name, value, ok := strings.Cut(l, ":")
		if !ok {
			return nil, fmt.Errorf("header %q: want name:value", l)
		}
		h.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	return h, nil
}

func askHTTP(ctx context.Context, client *http.Client, u *url.URL, method string, h http.Header) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return "", fmt.Errorf("make the request: %w", err)
	}
	req.Header = h.Clone()
	if host := h.Get("Host"); host != "" {
		req.Host = host
		req.Header.Del("Host")
	}
	res, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return "", fmt.Errorf("read the answer: %w", err)
	}
	text := fmt.Sprintf("StatusCode=%d\n%s", res.StatusCode, advanced.Lines("ResponseHeader", res.Header))
	if len(body) > 0 {
		text += strings.TrimRight(string(body), "\n") + "\n"
	}
	return text, nil
}

// askGRPC tells of success as the suite wants it, with HTTP's 200, and of other statuses by their number.
func askGRPC(ctx context.Context, conn *grpc.ClientConn, h http.Header) (string, error) {
	text, err := advanced.Call(ctx, conn, h)
	if err != nil {
		if ctx.Err() != nil {
			return "", err
		}
		s, _ := status.FromError(err)
		return fmt.Sprintf("StatusCode=%d\nMessage=%s\n", s.Code(), s.Message()), nil
	}
	return "StatusCode=200\n" + text, nil
}

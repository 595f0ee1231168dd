// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/printable"
)

// Limits of a question to somebody outside.
const (
	askTimeout = 10 * time.Second
	maxAnswer  = 1 << 20
	// maxWords of an answer that are shown, in bytes.
	maxWords = 200
)

// External asks the check that somebody else answers. Safe for concurrent use.
type External struct{ Client *http.Client }

// NewExternal makes an External that waits ten seconds at most. It follows no redirection: a login page
// answers 200.
func NewExternal() External {
	return External{Client: &http.Client{
		Timeout:       askTimeout,
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Ask asks once. An error means that there is no answer, or none that says anything about the wave: the
// address is wrong, nobody answers, or the query is not one. It neither passes nor fails the wave; its
// text is for the status.
func (e External) Ask(ctx context.Context, g v1alpha1.ExternalGate) (v1alpha1.GateVerdict, string, error) {
	if g.Query == "" {
		return e.check(ctx, g)
	}
	return e.compare(ctx, g)
}

// check asks a URL that passes the wave with 200.
func (e External) check(ctx context.Context, g v1alpha1.ExternalGate) (v1alpha1.GateVerdict, string, error) {
	code, body, err := e.get(ctx, g.URL)
	switch {
	case err != nil:
		return "", "", err
	case code == http.StatusOK:
		return v1alpha1.GatePassed, g.URL + " answers 200", nil
	}
	return v1alpha1.GateFailed, fmt.Sprintf("%s answers %d%s", g.URL, code, words(body)), nil
}

// compare asks a Prometheus for a number that must not be too large.
func (e External) compare(ctx context.Context, g v1alpha1.ExternalGate) (v1alpha1.GateVerdict, string, error) {
	limit, err := strconv.ParseFloat(g.Max, 64)
	if err != nil {
		return "", "", fmt.Errorf("max %q is not a number", g.Max)
	}
	v, found, err := e.query(ctx, g.URL, g.Query)
	switch {
	case err != nil:
		return "", "", err
	case !found:
		return v1alpha1.GateNoEvidence, "the query answers nothing", nil
	case math.IsNaN(v):
		return v1alpha1.GateNoEvidence, "the query answers NaN, as a division of zero by zero does", nil
	case v > limit:
		return v1alpha1.GateFailed, fmt.Sprintf("the query answers %s, more than %s", show(v), g.Max), nil
	}
	return v1alpha1.GatePassed, fmt.Sprintf("the query answers %s, at most %s is allowed", show(v), g.Max), nil
}

// query asks a Prometheus for the present value of an expression; found is whether there is one. See
// https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries.
func (e External) query(ctx context.Context, address, expression string) (v float64, found bool, err error) {
	u, err := url.Parse(address)
	if err != nil {
		return 0, false, fmt.Errorf("the URL can't be read: %w", err)
	}
	u = u.JoinPath("api/v1/query")
	q := u.Query()
	q.Set("query", expression)
	u.RawQuery = q.Encode()
	code, body, err := e.get(ctx, u.String())
	if err != nil {
		return 0, false, err
	}
	var answer struct {
		Status string `json:"status"`
		Error  string `json:"error"`
		Data   struct {
			ResultType string          `json:"resultType"`
			Result     json.RawMessage `json:"result"`
		} `json:"data"`
	}
	broken := json.Unmarshal(body, &answer)
	switch {
	case broken == nil && answer.Status == "error":
		return 0, false, fmt.Errorf("Prometheus refuses the query: %s", clip(answer.Error)) //nolint:staticcheck // a name
	case code != http.StatusOK:
		return 0, false, fmt.Errorf("%s answers %d%s", address, code, words(body))
	case broken != nil || answer.Status != "success":
		return 0, false, fmt.Errorf("%s does not answer as a Prometheus does%s", address, words(body))
	}
	return value(answer.Data.ResultType, answer.Data.Result)
}

// value is the one number of a result.
func value(kind string, result json.RawMessage) (v float64, found bool, err error) {
	var point sample
	switch kind {
	case "scalar":
		err = json.Unmarshal(result, &point)
	case "vector":
		var all []struct {
			Value     *sample         `json:"value"`
			Histogram json.RawMessage `json:"histogram"`
		}
		err = json.Unmarshal(result, &all)
		switch {
		case err != nil:
		case len(all) == 0:
			return 0, false, nil
		case len(all) > 1:
			return 0, false, fmt.Errorf("the query answers %d values, it must be one: add them up, as with sum(...)", len(all))
		case all[0].Value == nil:
			return 0, false, errors.New("the query answers a histogram, it must be a number")
		default:
			point = *all[0].Value
		}
	default:
		return 0, false, fmt.Errorf("the query answers a %s, it must be a number", clip(kind))
	}
	if err != nil {
		return 0, false, fmt.Errorf("the answer can't be read: %w", err)
	}
	return float64(point), true, nil
}

// sample is a value with its time, [1435781451.781, "0.25"].
type sample float64

// UnmarshalJSON reads the value and leaves the time.
func (s *sample) UnmarshalJSON(b []byte) error {
	var pair []json.RawMessage
	if err := json.Unmarshal(b, &pair); err != nil {
		return err
	}
	if len(pair) != 2 {
		return fmt.Errorf("a sample has %d parts", len(pair))
	}
	var text string
	if err := json.Unmarshal(pair[1], &text); err != nil {
		return err
	}
	v, err := strconv.ParseFloat(text, 64) // NaN, +Inf and -Inf as well
	*s = sample(v)
	return err
}

// get asks for a URL and reads the answer, or as much of it as may be.
func (e External) get(ctx context.Context, address string) (code int, body []byte, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return 0, nil, fmt.Errorf("the URL can't be asked: %w", err)
	}
	r.Header.Set("User-Agent", "tulle-operator")
	resp, err := e.Client.Do(r)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // the URL has a query, maybe a long one
		}
		return 0, nil, fmt.Errorf("no answer from %s: %w; if NetworkPolicy tulle-operator is installed, it must allow egress to this address and port", r.URL.Host, err)
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return 0, nil, fmt.Errorf("the answer of %s broke off: %w", r.URL.Host, err)
	case len(body) > maxAnswer:
		return 0, nil, fmt.Errorf("the answer of %s is larger than 1 MiB", r.URL.Host)
	}
	return resp.StatusCode, body, nil
}

// words are the beginning of a body, if it is for people.
func words(body []byte) string {
	text := strings.Join(strings.Fields(string(body)), " ")
	if text == "" {
		return ""
	}
	return ": " + clip(text)
}

// clip shortens the text of others, and makes it one line.
func clip(s string) string {
	s = printable.Line(s)
	if len(s) > maxWords {
		s = s[:maxWords] + "…"
	}
	return strings.ToValidUTF8(s, "")
}

func show(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }

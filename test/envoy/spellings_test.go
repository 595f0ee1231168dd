// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"tulle.dev/tulle/internal/controlplane/model"
)

// variable is the name by which servers of CGI, WSGI and the like show a header, the most generous of them.
func variable(name string) string {
	return "HTTP_" + strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z':
			return c - 'a' + 'A'
		case c >= 'A' && c <= 'Z' || c >= '0' && c <= '9':
			return c
		}
		return '_'
	}, name)
}

// spellings are all names for which a server has the same variable, with dashes, underscores and dots, in
// some mixture of cases; and some with other characters that names may have (RFC 9110, 5.6.2).
func spellings(name string) []string {
	out := []string{""}
	for i, word := range strings.Split(name, "-") {
		var next []string
		for _, begun := range out {
			for _, sep := range []string{"-", "_", "."} {
				if i == 0 {
					sep = ""
				}
				next = append(next, begun+sep+mixed(word))
				if i == 0 {
					break
				}
			}
		}
		out = next
	}
	for _, c := range "!#$%&'*+^`|~" {
		out = append(out, strings.ReplaceAll(name, "-", string(c)))
	}
	return slices.DeleteFunc(out, func(s string) bool { return strings.EqualFold(s, name) })
}

func mixed(word string) string {
	return strings.Map(func(c rune) rune {
		if rand.IntN(2) == 0 {
			return c &^ 0x20
		}
		return c
	}, word)
}

// shown are the lines of the request that the application got, by variable.
func shown(t *testing.T, d door, lines ...string) map[string][]string {
	t.Helper()
	c, r := d.dial(t)
	defer c.Close()
	send(t, c, "GET / HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n"+strings.Join(lines, "\r\n")+"\r\n\r\n")
	got := map[string][]string{}
	b, err := io.ReadAll(r)
	if err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 200") {
		t.Fatalf("%s, %.100q: %.100q, %v", d.name, lines, b, err)
	}
	_, head, _ := strings.Cut(string(b), "\r\n\r\n")
	for line := range strings.SplitSeq(head, "\r\n") {
		if name, value, ok := strings.Cut(line, ": "); ok {
			got[variable(name)] = append(got[variable(name)], value)
		}
	}
	return got
}

// TestSpellings: no name that a server of CGI, WSGI, Rack or PHP takes for the header that says who the client
// is passes a Gateway, or gets to an application with a proxy; nor, at a Gateway, one that is taken for another
// header that the proxies set.
func TestSpellings(t *testing.T) {
	const forged = "URI=spiffe://cluster.local/ns/shop/sa/forged"
	for _, d := range ways(t, verbatim) {
		if d.name == "out" {
			continue // the application has no proxy, and nobody tells it who its clients are
		}
		names := spellings("x-forwarded-client-cert")
		if d.name == "edge" {
			for _, n := range []string{"x-forwarded-for", "x-forwarded-proto", "x-envoy-external-address", "x-envoy-original-path", "x-tulle-unreached"} {
				names = append(names, spellings(n)...)
			}
		}
		for some := range slices.Chunk(names, 40) {
			lines := make([]string, 0, len(some))
			for _, n := range some {
				lines = append(lines, n+": "+forged)
			}
			for name, values := range shown(t, d, lines...) {
				if slices.Contains(values, forged) {
					t.Errorf("%s: the application has %s = %q; sent as one of %q", d.name, name, values, some)
				}
			}
		}
		// What is not one of these passes where it did.
		innocent := []string{"x-forwarded-client-certificate: 1", "xforwarded-client-cert: 1", "x-forwardedclient-cert: 1", "y-x-forwarded-client-cert: 1"}
		if d.name != "edge" {
			innocent = append(innocent, "x_forwarded_for: 1", "api_key: 1", "x_forwarded_client_certs: 1", "ssl_client_cert: 1", "client_cert: 1")
		}
		for _, l := range innocent {
			if name, _, _ := strings.Cut(l, ":"); !slices.Contains(shown(t, d, l)[variable(name)], "1") {
				t.Errorf("%s: %s was removed", d.name, name)
			}
		}
		// The proxy's own word is there, once.
		got := shown(t, d, "X-Forwarded-Client-Cert: "+forged, "X_Forwarded_Client_Cert: "+forged)["HTTP_X_FORWARDED_CLIENT_CERT"]
		switch told := fmt.Sprint(got); {
		case d.name == "in" && len(got) > 0, d.name == "mesh" && !strings.Contains(told, "sa/client"), d.name == "edge" && !strings.Contains(told, "sa/public-tulle"), len(got) > 1:
			t.Errorf("%s: the application is told %q", d.name, got)
		}
	}
}

// TestUnderscores: what a Gateway does with headers that have an underscore in their name, and that what a
// rule removes can't come by another name.
func TestUnderscores(t *testing.T) {
	for setting, want := range map[string]string{"": "200", model.UnderscoresReject: "400", model.UnderscoresAllow: "200"} {
		t.Run("setting "+setting, func(t *testing.T) {
			m := newMesh(t)
			m.clients.Underscores = setting
			edge, mesh := doors(t, m, verbatim, model.Rule{RequestHeaders: model.HeaderMods{Remove: []string{"X-Secret"}}})
			if got := fmt.Sprint(edge.send(t, "GET / HTTP/1.1\r\nHost: www.example.com\r\nApi_Key: 1\r\n\r\n").status); got != want {
				t.Errorf("status %s, want %s", got, want)
			}
			f := edge.framed(t)
			id, err := f.Ask(0, "GET", "/", "api_key: 1")
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, 5*time.Second, func() error {
				status, resets, _ := f.Seen()
				if _, reset := resets[id]; status[id] != want && !(want == "400" && (reset || f.Over())) {
					return fmt.Errorf("HTTP/2: status %q, reset %v", status[id], reset)
				}
				return nil
			})
			if setting == model.UnderscoresReject {
				return
			}
			got := shown(t, edge, "Api_Key: 1", "x_secret: 1", "X-Secret: 1")
			if kept := len(got["HTTP_API_KEY"]) > 0; kept != (setting == model.UnderscoresAllow) {
				t.Errorf("api_key passes: %v", kept)
			}
			if removed := len(got["HTTP_X_SECRET"]) == 0; removed != (setting == "") {
				t.Errorf("what the rule removes does not pass: %v", removed)
			}
			if len(shown(t, mesh, "Api_Key: 1")["HTTP_API_KEY"]) != 1 {
				t.Error("in the mesh api_key does not pass")
			}
		})
	}
}

// TestSlashes: what a Gateway makes of slashes that are doubled or encoded.
func TestSlashes(t *testing.T) {
	for _, c := range []struct {
		merge   bool
		escaped string
		want    map[string]string
	}{
		{false, "", map[string]string{"//admin": "root: GET //admin", "/%2fadmin": "root: GET /%2fadmin", "/x/..%2fadmin": "root: GET /x/..%2fadmin", "/x/..%5cadmin": "root: GET /x/..%5cadmin"}},
		{true, "", map[string]string{"//admin": "admin: GET /admin", "/x/..//admin": "admin: GET /admin", "/admin//x?a=//": "admin: GET /admin/x?a=//", "/%2fadmin": "root: GET /%2fadmin"}},
		{true, model.SlashesReject, map[string]string{"///admin": "admin: GET /admin", "/%2fadmin": "400", "/x/..%2Fadmin": "400", "/x/..%5cadmin": "400", "/x?a=%2f": "root: GET /x?a=%2f"}},
		{true, model.SlashesUnescape, map[string]string{"/%2fadmin": "admin: GET /admin", "/x/..%2fadmin": "admin: GET /admin", "/x/..%5Cadmin": "admin: GET /admin", "/x%2Fy": "root: GET /x/y"}},
		{false, model.SlashesUnescape, map[string]string{"/%2fadmin": "root: GET //admin", "/x/..%2fadmin": "admin: GET /admin"}},
		{false, model.SlashesRedirect, map[string]string{"/x/..%2fadmin": "307", "/admin": "admin: GET /admin"}},
	} {
		t.Run(fmt.Sprintf("merge %v, escaped %s", c.merge, c.escaped), func(t *testing.T) {
			m := newMesh(t)
			m.clients.MergeSlashes, m.clients.EscapedSlashes = c.merge, c.escaped
			edge, mesh := doors(t, m, verbatim, pathRules()...)
			for path, want := range c.want {
				edge.wanted(t, "GET "+path+" HTTP/1.1\r\nHost: www.example.com\r\n\r\n", want)
			}
			mesh.wanted(t, "GET //admin HTTP/1.1\r\nHost: h\r\n\r\n", "root: GET //admin")
		})
	}
}

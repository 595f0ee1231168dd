// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"tulle.dev/tulle/internal/controlplane/model"
)

// pathRules are told by their names.
func pathRules() []model.Rule {
	return []model.Rule{
		called("exact", exact("/exact")),
		called("slash", exact("/slash/")),
		called("octets", prefix("/caf%C3%A9")),
		called("admin", prefix("/admin")),
		called("regex", model.Match{Path: model.PathMatch{Kind: model.PathRegex, Value: "/re-[a-z]+"}}),
		called("root", prefix("/")),
	}
}

// TestPaths: which rule takes a request, and what the application sees of its path. A rule for /admin
// is not passed by with another way to write the same path.
func TestPaths(t *testing.T) {
	edge, mesh := doors(t, newMesh(t), verbatim, pathRules()...)
	long := strings.Repeat("long", 2500)
	for _, c := range []struct{ line, want string }{
		// Unreserved characters mean the same, encoded or not (RFC 3986, 2.3 and 6.2.2.2).
		{"GET /admin", "admin: GET /admin"},
		{"GET /%61dmin", "admin: GET /admin"},
		{"GET /%61%64%6d%69%6E?%61", "admin: GET /admin?%61"},
		{"GET /ex%61ct", "exact: GET /exact"},
		{"GET /re%2Dx", "regex: GET /re-x"},
		{"GET /x%2e%7e%5F", "root: GET /x.~_"},
		// Decoded once, not twice.
		{"GET /%2561dmin", "root: GET /%2561dmin"},
		{"GET /%%361dmin", "root: GET /%2561dmin"},
		{"GET /x/%252e%252e/admin", "root: GET /x/%252e%252e/admin"},
		// Reserved characters don't mean the same (2.2): an encoded slash is none.
		{"GET /admin%2Fx", "root: GET /admin%2Fx"},
		{"GET /%2fadmin", "root: GET /%2fadmin"},
		{"GET /x/..%2fadmin", "root: GET /x/..%2fadmin"},
		{"GET /admin%3Fx", "root: GET /admin%3Fx"},
		{"GET /admin%23x", "root: GET /admin%23x"},
		{"GET /admin;x", "root: GET /admin;x"},
		// Octets of other characters, in upper and lower case (2.1).
		{"GET /caf%C3%A9", "octets: GET /caf%C3%A9"},
		{"GET /caf%c3%a9/x", "octets: GET /caf%c3%a9/x"},
		{"GET /caf%c3%a8", "root: GET /caf%c3%a8"},
		{"GET /caf%e9", "root: GET /caf%e9"},
		// What encodes nothing stays; a zero octet and octets that should have been encoded are refused.
		{"GET /%zz", "root: GET /%zz"},
		{"GET /%zz/../admin", "admin: GET /admin"},
		{"GET /admin%", "root: GET /admin%"},
		{"GET /%6", "root: GET /%6"},
		{"GET /admin%00", "400"},
		{"GET /caf\xc3\xa9", "400"},
		{"GET /caf\xe9", "400"},
		{"GET /a\x7f", "400"},
		{"GET /a b", "400"},
		{`GET /{a|b}^"<>`, "root: GET /%7Ba%7Cb%7D%5E%22%3C%3E"},

		// Dot segments (5.2.4), with encoded dots too.
		{"GET /x/../admin", "admin: GET /admin"},
		{"GET /./admin/.", "admin: GET /admin/"},
		{"GET /x/%2e%2E/admin", "admin: GET /admin"},
		{"GET /x/.%2e/%2e/admin", "admin: GET /admin"},
		{"GET /../../admin", "admin: GET /admin"},
		{"GET /admin/..", "root: GET /"},
		{"GET /admin/../x", "root: GET /x"},
		{"GET /exact/../exact", "exact: GET /exact"},
		{"GET /exact/.", "root: GET /exact/"},
		{"GET /slash/x/..", "slash: GET /slash/"},
		{"GET /x/...", "root: GET /x/..."},
		{"GET /x?a=/../admin", "root: GET /x?a=/../admin"},
		{"GET /x%3f/../admin", "admin: GET /admin"},
		// Parameters of dot segments go with them; where that takes two steps nobody gets the path.
		{"GET /x/..;p=1/admin", "admin: GET /admin"},
		{"GET /.;/admin;p", "root: GET /admin;p"},
		{"GET /x/%2e%2e;p=1/admin", "403"},
		{"GET /%2E;/admin", "403"},
		{`GET /x\..;/admin`, "403"},
		{"GET /x?/..;/", "root: GET /x?/..;/"},
		{"GET /x/...;/..a;", "root: GET /x/...;/..a;"},
		// A backslash is not a character of a URL; taken for a slash before it is matched.
		{`GET /x\..\admin`, "admin: GET /admin"},
		{"GET /x/..%5cadmin", "root: GET /x/..%5cadmin"},
		// Empty segments are segments.
		{"GET //admin", "root: GET //admin"},
		{"GET /admin//x", "admin: GET /admin//x"},
		{"GET /x//../admin", "root: GET /x/admin"},
		{"GET /x/..//admin", "root: GET //admin"},
		// A trailing slash (PathMatchType).
		{"GET /admin/", "admin: GET /admin/"},
		{"GET /adminx", "root: GET /adminx"},
		{"GET /exact/", "root: GET /exact/"},
		{"GET /exact?x/", "exact: GET /exact?x/"},
		{"GET /slash", "root: GET /slash"},
		{"GET /slash/", "slash: GET /slash/"},
		// Case counts.
		{"GET /Admin", "root: GET /Admin"},
		{"GET /%41dmin", "root: GET /Admin"},
		{"GET /EXACT", "root: GET /EXACT"},

		// Forms of the request target (RFC 9112, 3.2).
		{"GET ", "400"},
		{"GET ?x", "400"},
		{"GET admin", "400"},
		{"GET *", "400"},
		{"GET /admin#x", "400"},
		{"OPTIONS *", "404"},
		{"OPTIONS /*", "root: OPTIONS /*"},
		{"GET http://www.example.com", "root: GET /"},
		{"GET http://www.example.com?x", "404"},
		{"GET http://www.example.com/admin", "admin: GET /admin"},
		{"GET HTTP://WWW.EXAMPLE.COM:80/x/%2e./admin", "admin: GET /admin"},
		{"get /admin", "admin: get /admin"},

		{"GET /" + long, "root: GET /" + long},
		{"GET /admin/" + long + "?" + long, "admin: GET /admin/" + long + "?" + long},
		{"GET /" + strings.Repeat("x/../", 2000) + "admin", "admin: GET /admin"},
		{"GET /" + strings.Repeat(long, 14), "431"},
	} {
		for _, d := range []door{edge, mesh} {
			d.wanted(t, c.line+" HTTP/1.1\r\nHost: www.example.com\r\n\r\n", c.want)
		}
	}
	t.Run("HTTP/2", func(t *testing.T) { pathsHTTP2(t, edge, mesh) })
	t.Run("hosts", func(t *testing.T) { hosts(t, edge, mesh) })
	t.Run("any", func(t *testing.T) { anyPath(t, edge, mesh) })
}

// pathsHTTP2: the same by HTTP/2, whose paths have no request line around them.
func pathsHTTP2(t *testing.T, doors ...door) {
	for _, d := range doors {
		c := client(d.ns, "h2")
		for path, want := range map[string]string{
			"/%61dmin": "admin: GET /admin", "/x/../admin": "admin: GET /admin", "/x/%2e%2e/admin": "admin: GET /admin",
			"/caf%c3%a9": "octets: GET /caf%c3%a9", "/admin%2fx": "root: GET /admin%2fx",
		} {
			a := get(t, c, "http://"+d.addr, func(r *http.Request) {
				r.Host = "www.example.com"
				r.URL = &url.URL{Scheme: "http", Host: d.addr, Opaque: path} // sent as it is
			})
			line, _, _ := strings.Cut(a.body, "\r\n")
			if got := a.headers.Get("X-Rule") + ": " + strings.TrimSuffix(line, " HTTP/1.1"); got != want {
				t.Errorf("%s, %s: got %q, want %q", d.name, path, got, want)
			}
		}
	}
}

// hosts: host names are compared without case and port, and without anything else put right. In the
// mesh they decide nothing (GEP-1294).
func hosts(t *testing.T, edge, mesh door) {
	for _, c := range []struct{ request, edge, mesh string }{
		{"GET /admin HTTP/1.1\r\nHost: www.example.com", "admin: GET /admin", "admin: GET /admin"},
		{"GET /admin HTTP/1.1\r\nhOST: WWW.Example.COM", "admin: GET /admin", "admin: GET /admin"},
		{"GET /admin HTTP/1.1\r\nHost: www.example.com:80", "admin: GET /admin", "admin: GET /admin"},
		{"GET /admin HTTP/1.1\r\nHost: www.example.com:8443", "admin: GET /admin", "admin: GET /admin"},
		{"GET /admin HTTP/1.1\r\nHost: www.example.com.", "404", "admin: GET /admin"},
		{"GET /admin HTTP/1.1\r\nHost: example.com", "404", "admin: GET /admin"},
		{"GET /admin HTTP/1.1\r\nHost: www.example.com.evil.example", "404", "admin: GET /admin"},
		{"GET /admin HTTP/1.1\r\nHost: A.b.Wild.example:80", "admin: GET /admin", "admin: GET /admin"},
		{"GET /admin HTTP/1.1\r\nHost: wild.example", "404", "admin: GET /admin"},
		{"GET /admin HTTP/1.1\r\nHost: notwild.example", "404", "admin: GET /admin"},
		{"GET /admin HTTP/1.1", "400", "400"},
		// Two of them make one that nobody has.
		{"GET /admin HTTP/1.1\r\nHost: www.example.com\r\nHost: www.example.com", "404", "admin: GET /admin"},
		// The request target counts, not the header (RFC 9112, 3.2.2).
		{"GET http://other.example/admin HTTP/1.1\r\nHost: www.example.com", "404", "admin: GET /admin"},
		{"GET http://www.example.com/admin HTTP/1.1\r\nHost: other.example", "admin: GET /admin", "admin: GET /admin"},
		// Who asks in plaintext can't have meant https.
		{"GET https://www.example.com/admin HTTP/1.1\r\nHost: www.example.com", "403", "admin: GET /admin"},
	} {
		edge.wanted(t, c.request+"\r\n\r\n", c.edge)
		mesh.wanted(t, c.request+"\r\n\r\n", c.mesh)
	}
}

// anyPath: whatever is sent, the rule that took it is the one that what the application gets would
// have had, and that has no dot segments.
func anyPath(t *testing.T, doors ...door) {
	seed := uint64(time.Now().UnixNano())
	for _, d := range doors {
		g := nasty{rand.New(rand.NewPCG(seed, 1))}
		taken := map[string]int{}
		var c net.Conn
		var r *bufio.Reader
		for range 1200 {
			if c == nil {
				c, r = d.dial(t)
			}
			path := g.path()
			send(t, c, "GET "+path+" HTTP/1.1\r\nHost: www.example.com\r\n\r\n")
			got := receive(r)
			if len(got.head) == 0 {
				taken[fmt.Sprint(got.status)]++
				_ = c.Close()
				c = nil
				continue
			}
			taken[got.rule]++
			line := strings.Fields(got.head[0])[1]
			if want, ok := deserved(line); !ok || got.rule != want {
				t.Fatalf("seed %d, %s: %q was taken by %q and is %q for the application, by which it is for %q", seed, d.name, path, got.rule, line, want)
			}
		}
		if taken["admin"] < 50 || taken["octets"] < 20 || taken["root"] < 50 {
			t.Errorf("%s: %v", d.name, taken)
		}
	}
}

// deserved is the rule of a path in normal form but for the case of octets; ok is false if it has dot segments.
func deserved(target string) (rule string, ok bool) {
	path, _, _ := strings.Cut(target, "?")
	path = regexp.MustCompile("%[0-9A-Fa-f]{2}").ReplaceAllStringFunc(path, strings.ToUpper)
	below := func(p string) bool { return path == p || strings.HasPrefix(path, p+"/") }
	ok = !strings.Contains(path+"/", "/./") && !strings.Contains(path+"/", "/../")
	switch {
	case below("/caf%C3%A9"):
		return "octets", ok
	case below("/admin"):
		return "admin", ok
	}
	return "root", ok
}

type nasty struct{ *rand.Rand }

// path is one that a rule is for, written in another way, or no more than like it.
func (g nasty) path() string {
	from := []string{"/admin", "/x/../admin", "/./admin/y/..", "/x/.//../admin", "/admin/../x", "/caf%C3%A9/x", "/x/../caf%c3%A9"}
	path := from[g.IntN(len(from))]
	for range 1 + g.IntN(3) {
		i := 1 + g.IntN(len(path)-1)
		path = path[:i] + g.write(path[i]) + path[i+1:]
	}
	return path
}

// write writes a character in one of many ways.
func (g nasty) write(c byte) string {
	h := fmt.Sprintf("%02x", c)
	if g.IntN(2) == 0 {
		h = strings.ToUpper(h)
	}
	octet := func(c byte) string { return fmt.Sprintf("%%%02x", c) }
	ways := []string{
		"%" + h, "%" + h, "%" + h, "%" + h, string(c), "%25" + h, "%%25" + h,
		"%" + octet(h[0]) + h[1:], "%" + h[:1] + octet(h[1]), "%" + octet(h[0]) + octet(h[1]), // an octet of encoded digits
		"%" + string(c), "%" + h[:1] + string(c), string(c) + "?", string(c) + ";", "/" + string(c), `\` + string(c),
	}
	return ways[g.IntN(len(ways))]
}

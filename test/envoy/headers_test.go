// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"strings"
	"testing"

	"tulle.dev/tulle/internal/controlplane/model"
)

func headerMatch(name, value string) model.Match {
	return model.Match{Headers: []model.ValueMatch{{Name: name, Value: value}}}
}

func queryMatch(name, value string) model.Match {
	return model.Match{Query: []model.ValueMatch{{Name: name, Value: value}}}
}

// TestHeaders: which rule takes a request by its headers, and what the application gets of them.
func TestHeaders(t *testing.T) {
	mods := called("mods", prefix("/mods"))
	mods.RequestHeaders = model.HeaderMods{
		Set:    []model.Header{{Name: "x-set", Value: "new"}},
		Add:    []model.Header{{Name: "x-add", Value: "more"}, {Name: "x-add", Value: "still more"}},
		Remove: []string{"x-gone"},
	}
	edge, mesh := doors(t, newMesh(t), verbatim,
		mods,
		called("both", headerMatch("x-both", "one,two")),
		called("spaced", headerMatch("x-both", "one, two")),
		called("one", headerMatch("x-one", "one")),
		called("any", model.Match{Headers: []model.ValueMatch{{Name: "x-any", Value: ".*", Regex: true}}}),
		called("cookie", headerMatch("cookie", "a=1; b=2")),
		called("root", prefix("/")),
	)
	big := strings.Repeat("v", 10000)
	for _, c := range []struct {
		path, headers string
		// want is the rule, or the status, and the header lines that the application gets.
		want string
	}{
		// Names are compared without case, values with (RFC 9110, 5.1); blanks around a value are not part of it (5.5).
		{"/", "X-ONE: one", "one|x-one: one"},
		{"/", "x-one:  one \t", "one|x-one: one"},
		{"/", "X-One: ONE", "root|x-one: ONE"},
		{"/", "X-One: one, two", "root|x-one: one, two"},
		// Of several lines each is compared by itself, and none of them is joined to another.
		{"/", "X-One: one\r\nx-one: two", "one|x-one: one|x-one: two"},
		{"/", "X-One: two\r\nX-One: one", "one|x-one: two|x-one: one"},
		{"/", "X-One:\r\nX-One: one", "one|x-one: |x-one: one"},
		{"/", "X-Both: one\r\nX-Both: two", "root|x-both: one|x-both: two"},
		{"/", "X-Both: one,two", "both|x-both: one,two"},
		{"/", "X-Both: one, two", "spaced|x-both: one, two"},
		{"/", "Cookie: a=1\r\nCookie: b=2", "root|cookie: a=1; b=2"}, // joined on the way, once the rule is chosen
		{"/", "Cookie: a=1; b=2", "cookie|cookie: a=1; b=2"},
		// A header that is there and empty is there.
		{"/", "X-Any:", "any|x-any: "},
		{"/", "X-None:", "root|x-none: "},
		// A hop's own header is not for the next.
		{"/", "Connection: X-Any\r\nX-Any: 1", "root"},
		// Set is instead of all lines, add is another line, remove takes all; other lines keep their order.
		{"/mods", "X-Set: a\r\nX-Set: b\r\nX-Add: a\r\nx-add: b\r\nX-Gone: a\r\nX-GONE: b\r\nX-Other: 1\r\nX-Other: 2", "mods|x-add: a|x-add: b|x-other: 1|x-other: 2|x-set: new|x-add: more|x-add: still more"},
		{"/mods", "X-Set:\r\nX-Gone:", "mods|x-set: new|x-add: more|x-add: still more"},

		// What is no header, or could be read in two ways, is refused (RFC 9112, 5 and 6.3).
		{"/", "X One: one", "400"},
		{"/", "X-One : one", "400"},
		{"/", " X-One: one", "400"},
		{"/", "X-One", "400"},
		{"/", ": one", "400"},
		{"/", "X-One: o\x00ne", "400"},
		{"/", "X-One: o\x01ne", "400"},
		{"/", "Content-Length: 0\r\nContent-Length: 1", "400"},
		{"/", "Content-Length: 0\r\nTransfer-Encoding: chunked", "400"},
		{"/", "X-B: 1\r\n two", "root|x-b: 1 two"},
		{"/", "X-Other: caf\xe9", "root|x-other: caf\xe9"},

		{"/", "X-Big: " + big, "root|x-big: " + big},
		{"/", big + ": 1", "root|" + big + ": 1"},
		{"/", "X-Big: " + big + "\r\nX-One: one", "one|x-big: " + big + "|x-one: one"},
		{"/", "X-Big: " + strings.Repeat(big, 14), "431"}, // more than 128 KiB
		{"/", strings.TrimSuffix(strings.Repeat("X-N: 1\r\n", 300), "\r\n"), "431"},
	} {
		for _, d := range []door{edge, mesh} {
			d.headers(t, c.path, c.headers, c.want)
		}
	}
	// A gateway takes 60 KiB of headers, a proxy in the mesh 128 KiB, both 256 lines.
	edge.headers(t, "/", "X-Big: "+strings.Repeat(big, 7), "431")
	mesh.headers(t, "/", "X-Big: "+strings.Repeat(big, 7), "root|x-big: "+strings.Repeat(big, 7))
	lines := strings.Repeat("X-N: 1\r\n", 150) + "X-One: one"
	for _, d := range []door{edge, mesh} {
		d.headers(t, "/", lines, "one|"+strings.Repeat("x-n: 1|", 150)+"x-one: one")
	}
}

// headers asks and compares the rule and all header lines.
func (d door) headers(t *testing.T, path, headers, want string) {
	t.Helper()
	r := d.send(t, "GET "+path+" HTTP/1.1\r\nHost: www.example.com\r\n"+headers+"\r\n\r\n")
	got := r.String()
	if len(r.head) > 0 {
		got = strings.Join(append([]string{r.rule}, r.head[1:]...), "|")
	}
	if got != want {
		t.Errorf("%s, %.100q: got %q, want %q", d.name, headers, shortened(got), shortened(want))
	}
}

// TestQueries: the first parameter of a name counts, and nothing is decoded.
func TestQueries(t *testing.T) {
	edge, mesh := doors(t, newMesh(t), verbatim,
		called("one", queryMatch("q", "one")),
		called("plus", queryMatch("q", "a+b")),
		called("octet", queryMatch("q", "a%20b")),
		called("blank", queryMatch("q", "a b")),
		called("name", queryMatch("%71", "one")),
		called("any", model.Match{Query: []model.ValueMatch{{Name: "any", Value: ".*", Regex: true}}}),
		called("root", prefix("/")),
	)
	for query, want := range map[string]string{
		"q=one": "one", "x&q=one": "one", "&&q=one&": "one", "q=one&q=two": "one", "%zz&q=one": "one",
		"q=two&q=one": "root", "Q=one": "root", "q=ONE": "root", "q": "root", "q=": "root", "q=one=": "root",
		"q=%6Fne": "root", "%71=one": "name", "q=one%20": "root", "x=1;q=one": "root", "x?q=one": "root",
		"q=a+b": "plus", "q=a%20b": "octet", "q=a%2Bb": "root", "q=a%2520b": "root",
		"any": "any", "any=": "any", "any=x": "any", "anyx=": "root", "": "root",
	} {
		for _, d := range []door{edge, mesh} {
			d.wanted(t, "GET /?"+query+" HTTP/1.1\r\nHost: www.example.com\r\n\r\n", want+": GET /?"+query)
		}
	}
}

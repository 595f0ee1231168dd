// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package metrics

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxFamilies is how many names of metrics an application may have; each is in memory while its text is read.
const maxFamilies = 50000

// text reads what an application answers, line by line, and writes it in the Prometheus text format 0.0.4. What is
// harmless is corrected: a line that repeats the type or help of a metric, exemplars, types that only OpenMetrics
// has, line ends of Windows. Any other error makes the whole text invalid: Prometheus reads nothing that follows a
// line that it cannot read.
type text struct {
	// seconds is set if timestamps are in seconds, as in OpenMetrics, and not in milliseconds.
	seconds bool
	// reserved reports whether the metric of that name is one of the proxy's, and so left out.
	reserved func(name string) bool

	families map[string]*family
	out      bytes.Buffer
	// left is how many lines were left out because they are about metrics of the proxy.
	left int
}

// family is what is known about the metric of one name.
type family struct {
	kind                string
	typed, help, sample bool
}

// read reads all of in. It returns an error if the text is invalid or in fails.
func (t *text) read(in io.Reader) error {
	t.families = map[string]*family{}
	r := bufio.NewReader(in)
	for n := 1; ; n++ {
		line, err := r.ReadSlice('\n')
		var long []byte
		for errors.Is(err, bufio.ErrBufferFull) {
			long = append(long, line...)
			line, err = r.ReadSlice('\n')
		}
		if long != nil {
			line = append(long, line...)
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if wrong := t.line(string(bytes.Trim(line, " \t\r\n"))); wrong != nil {
			return fmt.Errorf("line %d: %w", n, wrong)
		}
		if err != nil {
			return nil
		}
	}
}

func (t *text) line(s string) error {
	switch {
	case s == "":
		return nil
	case strings.ContainsRune(s, 0) || !utf8.ValidString(s):
		return errors.New("it is not text")
	case s[0] == '#':
		return t.comment(s)
	}
	return t.sample(s)
}

// comment keeps lines about the type and help of a metric. Other comments, and the end mark of OpenMetrics, say nothing.
func (t *text) comment(s string) error {
	f := strings.Fields(s[1:])
	if len(f) < 2 || f[0] != "TYPE" && f[0] != "HELP" || !isName(f[1], true) {
		return nil
	}
	if t.reserved(f[1]) {
		t.left++
		return nil
	}
	m, err := t.family(f[1])
	if err != nil {
		return err
	}
	if f[0] == "HELP" {
		if !m.help {
			m.help = true
			_, help, _ := strings.Cut(s[strings.Index(s, "HELP")+len("HELP"):], f[1])
			fmt.Fprintf(&t.out, "# HELP %s %s\n", f[1], escapeHelp(strings.TrimLeft(help, " \t")))
		}
		return nil
	}
	if m.typed || m.sample || len(f) != 3 {
		return nil
	}
	switch f[2] {
	case "counter", "gauge", "histogram", "summary", "untyped":
		m.typed, m.kind = true, f[2]
		fmt.Fprintf(&t.out, "# TYPE %s %s\n", f[1], f[2])
	}
	return nil
}

// escapeHelp returns the text of a help line with no escapes but those of a backslash and a line end.
func escapeHelp(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		b.WriteByte(s[i])
		if s[i] != '\\' {
			continue
		}
		if i+1 < len(s) && (s[i+1] == '\\' || s[i+1] == 'n') {
			i++
			b.WriteByte(s[i])
		} else {
			b.WriteByte('\\')
		}
	}
	return b.String()
}

func (t *text) family(name string) (*family, error) {
	m := t.families[name]
	if m == nil {
		if len(t.families) >= maxFamilies {
			return nil, fmt.Errorf("there are more than %d names of metrics", maxFamilies)
		}
		m = &family{}
		t.families[strings.Clone(name)] = m
	}
	return m, nil
}

// suffixes are those of the samples of a histogram or summary.
var suffixes = []string{"_bucket", "_count", "_sum"}

// parts are the family that a sample belongs to, by what its type line said.
func (t *text) parts(name string) *family {
	for _, s := range suffixes {
		if base, ok := strings.CutSuffix(name, s); ok {
			if m := t.families[base]; m != nil && (m.kind == "histogram" || m.kind == "summary" && s != "_bucket") {
				return m
			}
		}
	}
	return nil
}

func (t *text) sample(s string) error {
	name := s[:nameLength(s, true)]
	if name == "" {
		return errors.New("it does not begin with the name of a metric")
	}
	if t.reserved(name) {
		t.left++
		return nil
	}
	if after := s[len(name):]; after != "" && !strings.ContainsRune(" \t{", rune(after[0])) {
		return errors.New("after the name there must be labels or a space")
	}
	m := t.parts(name)
	part := m != nil
	if !part {
		var err error
		if m, err = t.family(name); err != nil {
			return err
		}
	}
	m.sample = true
	rest, labels, err := m.labels(s[len(name):])
	if err != nil {
		return err
	}
	rest, _, _ = strings.Cut(rest, "#") // an exemplar
	f := strings.Fields(rest)
	if len(f) != 1 && len(f) != 2 {
		return errors.New("after the labels there must be a value, and perhaps a timestamp")
	}
	value, err := number(f[0])
	if err != nil {
		return err
	}
	if part && m.kind == "histogram" && value < 0 && !strings.HasSuffix(name, "_sum") {
		return errors.New("a number of observations is negative")
	}
	t.out.WriteString(name + labels + " " + f[0])
	if len(f) == 2 {
		at, err := t.time(f[1])
		if err != nil {
			return err
		}
		t.out.WriteString(" " + strconv.FormatInt(at, 10))
	}
	t.out.WriteByte('\n')
	return nil
}

// time returns a timestamp in milliseconds.
func (t *text) time(s string) (int64, error) {
	if !t.seconds {
		ms, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return 0, errors.New("the timestamp is not a number of milliseconds")
		}
		return ms, nil
	}
	v, err := number(s)
	if err != nil || math.IsNaN(v) || math.Abs(v) > 1e15 {
		return 0, errors.New("the timestamp is not a number of seconds")
	}
	return int64(math.Round(v * 1000)), nil
}

// number reads a number as Prometheus does.
func number(s string) (float64, error) {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || strings.ContainsAny(s, "pP_xX") {
		return 0, errors.New("the value is not a number")
	}
	return v, nil
}

// labels reads the labels that s begins with, if it does. It returns what follows, and the labels as they are to be written.
func (m *family) labels(s string) (rest, labels string, err error) {
	s = strings.TrimLeft(s, " \t")
	if s == "" || s[0] != '{' {
		return s, "", nil
	}
	var b strings.Builder
	seen := map[string]bool{}
	for s = s[1:]; ; {
		s = strings.TrimLeft(s, " \t")
		if s != "" && s[0] == '}' {
			break
		}
		name := s[:nameLength(s, false)]
		if name == "" || name == "__name__" || seen[name] {
			return "", "", errors.New("the labels are not valid")
		}
		seen[name] = true
		s = strings.TrimLeft(s[len(name):], " \t")
		if s == "" || s[0] != '=' {
			return "", "", errors.New("a label has no value")
		}
		s = strings.TrimLeft(s[1:], " \t")
		n := quoted(s)
		if n == 0 {
			return "", "", errors.New("the value of a label is not quoted")
		}
		if m.kind == "histogram" && name == "le" || m.kind == "summary" && name == "quantile" {
			if _, err := number(s[1 : n-1]); err != nil {
				return "", "", err
			}
		}
		sep := ","
		if b.Len() == 0 {
			sep = "{"
		}
		b.WriteString(sep + name + "=" + s[:n])
		s = strings.TrimLeft(s[n:], " \t")
		if s != "" && s[0] == ',' {
			s = s[1:]
		} else if s == "" || s[0] != '}' {
			return "", "", errors.New("the labels do not end")
		}
	}
	if b.Len() > 0 {
		b.WriteByte('}')
	}
	return s[1:], b.String(), nil
}

// quoted returns the length of the quoted text that s begins with; 0 if it does not begin with a valid one.
func quoted(s string) int {
	if s == "" || s[0] != '"' {
		return 0
	}
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return i + 1
		case '\\':
			if i++; i == len(s) || s[i] != '\\' && s[i] != '"' && s[i] != 'n' {
				return 0
			}
		}
	}
	return 0
}

func isName(s string, colons bool) bool { return s != "" && nameLength(s, colons) == len(s) }

// nameLength returns the length of the name that s begins with, of a metric if it may have colons, or of a label.
func nameLength(s string, colons bool) int {
	for i := range len(s) {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || colons && c == ':'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return i
		}
	}
	return len(s)
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"text/tabwriter"

	"tulle.dev/tulle/internal/printable"
)

// Values of --output.
const (
	outputTable = "table"
	outputJSON  = "json"
)

// printJSON writes one indented document.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// printf is fmt.Fprintf for lines whose values come from the cluster: a text among args stays on its line, and so begins
// no line that looks like one of this program. Main reports an error of w.
func printf(w io.Writer, format string, args ...any) {
	clean := make([]any, len(args))
	for i, a := range args {
		clean[i] = a
		if v := reflect.ValueOf(a); v.Kind() == reflect.String {
			clean[i] = printable.Line(v.String())
		}
	}
	fmt.Fprintf(w, format, clean...)
}

// documents returns where documents are written that a program reads back byte by byte, such as a backup: to out as
// they are, unless it is a terminal, which gets what clean passes on.
func documents(out io.Writer, clean io.Writer) io.Writer {
	if f, ok := out.(*os.File); ok {
		if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice != 0 {
			return clean
		}
	}
	return out
}

// table writes aligned columns; each cell is one line.
type table struct {
	*tabwriter.Writer
}

func newTable(w io.Writer, headings ...string) table {
	t := table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	t.row(headings...)
	return t
}

func (t table) row(cells ...string) {
	for i, c := range cells {
		cells[i] = printable.Line(c)
	}
	fmt.Fprintln(t.Writer, strings.Join(cells, "\t"))
}

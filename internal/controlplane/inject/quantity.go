// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package inject

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Bounds of a quantity: within them decoding and comparing one takes no time. "1e999999999" is ten bytes
// and, as a number, 400 MB.
const (
	maxDigits   = 40
	maxExponent = 30
)

// quantityFields are the names of all fields of a pod that hold quantities, sorted: "limits", "divisor".
func quantityFields() []string {
	var out []string
	seen := map[reflect.Type]bool{}
	var walk func(t reflect.Type)
	walk = func(t reflect.Type) {
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		if t.Kind() == reflect.Map {
			walk(t.Elem())
			return
		}
		if t.Kind() != reflect.Struct || seen[t] {
			return
		}
		seen[t] = true
		for i := range t.NumField() {
			f := t.Field(i)
			if holdsQuantity(f.Type) {
				name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
				out = append(out, name)
				continue
			}
			walk(f.Type)
		}
	}
	walk(reflect.TypeFor[corev1.Pod]())
	slices.Sort(out)
	return slices.Compact(out)
}

// holdsQuantity tells whether a type is a quantity, or a map or list of them.
func holdsQuantity(t reflect.Type) bool {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	return t == reflect.TypeFor[resource.Quantity]()
}

// checkQuantities reads a pod as JSON and refuses a quantity that would be decoded or compared with great
// effort, before anything is. fields are quantityFields. It may refuse a text in a map of the pod that has
// such a name and looks like such a number.
func checkQuantities(pod []byte, fields []string) error {
	if !suspicious(pod) {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(pod))
	d.UseNumber()
	var open []level // the objects and arrays that are not closed
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return errors.New("it is not JSON")
		}
		var at *level
		if len(open) > 0 {
			at = &open[len(open)-1]
		}
		if delim, ok := token.(json.Delim); ok {
			switch delim {
			case '{', '[':
				open = append(open, level{object: delim == '{', quantities: at != nil && at.value()})
			default:
				open = open[:len(open)-1]
				if len(open) > 0 {
					open[len(open)-1].key = nil
				}
			}
			continue
		}
		if at == nil {
			continue
		}
		if at.object && at.key == nil {
			name, _ := token.(string)
			isField := slices.ContainsFunc(fields, func(f string) bool { return strings.EqualFold(f, name) })
			at.key, at.field = &name, isField
			continue
		}
		if text := textOf(token); at.value() && !tame(text) {
			return fmt.Errorf("%q is no quantity that can be compared: write at most %d digits and an exponent of at most %d", shorten(text), maxDigits, maxExponent)
		}
		at.key = nil
	}
}

// suspicious tells whether a text has anywhere what checkQuantities refuses: a long number, or an exponent
// of two digits. Nearly no pod has. (A quantity is not unescaped, so escapes don't hide one.)
func suspicious(pod []byte) bool {
	digits := 0
	for i, c := range pod {
		switch {
		case isDigit(c) || c == '.':
			if digits++; digits > maxDigits {
				return true
			}
			continue
		case c == 'e' || c == 'E':
			rest := pod[i+1:]
			if len(rest) > 0 && (rest[0] == '+' || rest[0] == '-') {
				rest = rest[1:]
			}
			if len(rest) > 1 && isDigit(rest[0]) && isDigit(rest[1]) {
				return true
			}
		}
		digits = 0
	}
	return false
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// level is an object or array that is being read.
type level struct {
	object     bool
	quantities bool    // all values in it may be quantities
	key        *string // of an object, after the key and before the value has ended
	field      bool    // the key is that of a field with quantities
}

// value tells whether the next value may be a quantity, or hold some.
func (l *level) value() bool { return l.quantities || l.object && l.key != nil && l.field }

func textOf(token json.Token) string {
	switch v := token.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	}
	return ""
}

// tame tells whether a text is no quantity, or one within the bounds.
func tame(text string) bool {
	text = strings.TrimSpace(text)
	rest := strings.TrimLeft(strings.TrimLeft(text, "+-"), "0123456789.")
	if len(text)-len(rest) > maxDigits {
		return false
	}
	exponent, ok := strings.CutPrefix(strings.ToLower(rest), "e")
	if !ok || exponent == "" {
		return true
	}
	n, err := strconv.Atoi(exponent)
	if errors.Is(err, strconv.ErrSyntax) {
		return true
	}
	return err == nil && n <= maxExponent && n >= -maxExponent
}

func shorten(text string) string { return text[:min(len(text), maxDigits)] }

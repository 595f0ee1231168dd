// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package inject

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// operation is one of a JSON patch, RFC 6902.
type operation struct {
	Op    string
	Path  string
	Value any
}

// MarshalJSON leaves the value out of a removal and keeps a null elsewhere.
func (o operation) MarshalJSON() ([]byte, error) {
	if o.Op == "remove" {
		return json.Marshal(map[string]any{"op": o.Op, "path": o.Path})
	}
	return json.Marshal(map[string]any{"op": o.Op, "path": o.Path, "value": o.Value})
}

// patch is the JSON patch from one object to another, both as their types marshal. It names only
// what differs, so that it can be applied to an object that holds fields unknown to those types,
// and leaves them in place: a newer API server's pod must not lose any.
func patch(from, to any) ([]byte, error) {
	var docs [2]any
	for i, o := range []any{from, to} {
		b, err := json.Marshal(o)
		if err != nil {
			return nil, fmt.Errorf("encode for patch: %w", err)
		}
		if err := json.Unmarshal(b, &docs[i]); err != nil {
			return nil, fmt.Errorf("decode for patch: %w", err)
		}
	}
	ops := diff(nil, "", docs[0], docs[1])
	if len(ops) == 0 {
		return nil, nil
	}
	out, err := json.Marshal(ops)
	if err != nil {
		return nil, fmt.Errorf("encode patch: %w", err)
	}
	return out, nil
}

func diff(ops []operation, path string, from, to any) []operation {
	if reflect.DeepEqual(from, to) {
		return ops
	}
	switch a := from.(type) {
	case map[string]any:
		if b, ok := to.(map[string]any); ok {
			return diffObject(ops, path, a, b)
		}
	case []any:
		if b, ok := to.([]any); ok {
			return diffList(ops, path, a, b)
		}
	}
	return append(ops, operation{"replace", path, to})
}

func diffObject(ops []operation, path string, a, b map[string]any) []operation {
	for _, k := range slices.Sorted(maps.Keys(a)) {
		at := path + "/" + escape(k)
		if v, ok := b[k]; ok {
			ops = diff(ops, at, a[k], v)
			continue
		}
		ops = append(ops, operation{Op: "remove", Path: at})
	}
	for _, k := range slices.Sorted(maps.Keys(b)) {
		if _, ok := a[k]; !ok {
			ops = append(ops, operation{"add", path + "/" + escape(k), b[k]})
		}
	}
	return ops
}

// diffList pairs the elements that begin and end both lists (by name, or by value if they have
// none), changes those in place, and removes and adds what lies between.
func diffList(ops []operation, path string, a, b []any) []operation {
	head := 0
	for head < len(a) && head < len(b) && same(a[head], b[head]) {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && same(a[len(a)-1-tail], b[len(b)-1-tail]) {
		tail++
	}
	at := func(i int) string { return path + "/" + strconv.Itoa(i) }
	for i := range head {
		ops = diff(ops, at(i), a[i], b[i])
	}
	for i := range tail {
		ops = diff(ops, at(len(a)-tail+i), a[len(a)-tail+i], b[len(b)-tail+i])
	}
	for i := len(a) - tail - 1; i >= head; i-- {
		ops = append(ops, operation{Op: "remove", Path: at(i)})
	}
	for i := head; i < len(b)-tail; i++ {
		ops = append(ops, operation{"add", at(i), b[i]})
	}
	return ops
}

// same tells whether two elements of a list are the same thing, perhaps changed.
func same(a, b any) bool {
	x, xok := a.(map[string]any)
	y, yok := b.(map[string]any)
	if xok && yok && x["name"] != nil {
		return x["name"] == y["name"]
	}
	return reflect.DeepEqual(a, b)
}

// escape writes a key as part of a JSON pointer, RFC 6901.
func escape(key string) string {
	return strings.ReplaceAll(strings.ReplaceAll(key, "~", "~0"), "/", "~1")
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"
)

// document is one of a file, with the line that separates it from the one before.
type document struct {
	text []byte
	line int // where it begins, from 1
	// content is what it holds; nil if that is no object of Kubernetes. items are set for a list.
	content *unstructured.Unstructured
	items   []*unstructured.Unstructured
	problem error // why it can't be read
}

// objects are the document's items, or the one object that it is.
func (d document) objects() []*unstructured.Unstructured {
	switch {
	case d.content == nil:
		return nil
	case d.items != nil:
		return d.items
	}
	return []*unstructured.Unstructured{d.content}
}

// split reads the documents of a file. Put together, their texts are the file.
func split(in []byte) []document {
	var out []document
	var text []byte
	line, began := 1, 1
	end := func() {
		for _, t := range stream(text) {
			d := document{text: t, line: began}
			d.read()
			out = append(out, d)
			began += bytes.Count(t, []byte("\n"))
		}
		text = nil
	}
	for l := range bytes.Lines(in) {
		// Such a line separates documents wherever it is, even within a text.
		if rest, ok := bytes.CutPrefix(l, []byte("---")); ok && (len(rest) == 0 || bytes.ContainsAny(rest[:1], " \t\r\n")) {
			end()
			began = line
		}
		text = append(text, l...)
		line++
	}
	end()
	return out
}

// stream splits a text that is several JSON objects, one after the other.
func stream(text []byte) [][]byte {
	if len(text) == 0 {
		return nil
	}
	if !isJSON(text) {
		return [][]byte{text}
	}
	d := json.NewDecoder(bytes.NewReader(text))
	var out [][]byte
	from := int64(0)
	for d.More() {
		var object json.RawMessage
		if d.Decode(&object) != nil {
			return [][]byte{text} // YAML in braces, perhaps
		}
		out = append(out, text[from:d.InputOffset()])
		from = d.InputOffset()
	}
	if len(out) == 0 {
		return [][]byte{text}
	}
	out[len(out)-1] = append(out[len(out)-1][:len(out[len(out)-1]):len(out[len(out)-1])], text[from:]...)
	return out
}

func isJSON(text []byte) bool { return bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) }

// read finds out what the text is.
func (d *document) read() {
	asJSON, err := yaml.YAMLToJSON(withoutDirectives(d.text))
	if err != nil {
		d.problem = fmt.Errorf("read YAML: %w", err)
		return
	}
	var content any
	if err := utiljson.Unmarshal(asJSON, &content); err != nil {
		d.problem = fmt.Errorf("read YAML: %w", err)
		return
	}
	fields, ok := content.(map[string]any)
	if !ok {
		return
	}
	u := &unstructured.Unstructured{Object: fields}
	if u.GetKind() == "" || u.GetAPIVersion() == "" {
		return
	}
	d.content = u
	kind, isList := strings.CutSuffix(u.GetKind(), "List")
	items, _ := fields["items"].([]any)
	if !isList || items == nil || !holdsPods(u.GroupVersionKind().Group) {
		return
	}
	for _, item := range items {
		fields, _ := item.(map[string]any)
		u := &unstructured.Unstructured{Object: fields}
		if fields != nil && kind != "" && u.GetKind() == "" {
			// The items of a PodList need not say that they are Pods.
			u = u.DeepCopy()
			u.SetKind(kind)
			u.SetAPIVersion(d.content.GetAPIVersion())
		}
		d.items = append(d.items, u)
	}
}

// holdsPods tells whether a group has kinds with pods, or lists of them.
func holdsPods(group string) bool { return group == "" || group == "apps" || group == "batch" }

// withoutDirectives is a text without lines like "%YAML 1.2", which stand before the line "---" and so
// end up in a document of their own here.
func withoutDirectives(text []byte) []byte {
	if !bytes.HasPrefix(text, []byte("%")) {
		return text
	}
	_, rest, _ := bytes.Cut(text, []byte("\n"))
	return withoutDirectives(rest)
}

// write returns the document with its changed objects, by index.
func (d document) write(changed map[int]bool) ([]byte, error) {
	if len(changed) == 0 {
		return d.text, nil
	}
	if d.items != nil {
		if text, ok := d.replaceItems(changed); ok {
			return text, nil
		}
		items := d.content.Object["items"].([]any)
		for i := range changed {
			items[i] = d.items[i].Object
		}
	}
	if isJSON(d.text) && json.Valid(d.text) {
		text, err := json.MarshalIndent(d.content.Object, "", "    ")
		if err != nil {
			return nil, fmt.Errorf("write %s %s: %w", d.content.GetKind(), d.content.GetName(), err)
		}
		space := d.text[:len(d.text)-len(bytes.TrimLeft(d.text, " \t\r\n"))]
		return append(append(bytes.Clone(space), text...), '\n'), nil
	}
	text, err := yaml.Marshal(d.content.Object)
	if err != nil {
		return nil, fmt.Errorf("write %s %s: %w", d.content.GetKind(), d.content.GetName(), err)
	}
	return append(bytes.Clone(d.separator()), text...), nil
}

// separator is the line before the document's content, with its comment.
func (d document) separator() []byte {
	first, _, _ := bytes.Cut(d.text, []byte("\n"))
	if rest, ok := bytes.CutPrefix(first, []byte("---")); ok && !content(rest) {
		return d.text[:len(first)+1]
	}
	return []byte("---\n")
}

// replaceItems writes the changed items of a list in the place of their lines, so that the others stay
// as they were written. It can't where items are not on lines of their own.
func (d document) replaceItems(changed map[int]bool) ([]byte, bool) {
	var root yamlv3.Node
	if yamlv3.Unmarshal(d.text, &root) != nil || len(root.Content) != 1 || root.Content[0].Kind != yamlv3.MappingNode {
		return nil, false
	}
	top := root.Content[0].Content
	at := -1
	for i := 0; i < len(top); i += 2 {
		if top[i].Value == "items" {
			at = i
		}
	}
	if at < 0 || root.Content[0].Style&yamlv3.FlowStyle != 0 || top[at+1].Style&yamlv3.FlowStyle != 0 || anchored(&root) {
		return nil, false
	}
	var lines [][]byte
	for l := range bytes.Lines(d.text) {
		lines = append(lines, l)
	}
	nodes := top[at+1].Content
	last := len(lines) // the first line after the items, counted from 0
	if at+2 < len(top) {
		last = top[at+2].Line - 1
	}
	for i := len(nodes) - 1; i >= 0; i-- {
		from, to := nodes[i].Line-1, last
		last = from
		if !changed[i] {
			continue
		}
		indent := nodes[i].Column - 3
		if indent < 0 || !bytes.HasPrefix(lines[from], []byte(strings.Repeat(" ", indent)+"- ")) {
			return nil, false
		}
		for to > from+1 && !content(lines[to-1]) {
			to-- // comments before the next item are that one's
		}
		text, err := yaml.Marshal(d.items[i].Object)
		if err != nil {
			return nil, false
		}
		var item []byte
		for l := range bytes.Lines(text) {
			begin := "  "
			if item == nil {
				begin = "- "
			}
			item = append(item, strings.Repeat(" ", indent)+begin...)
			item = append(item, l...)
		}
		lines = append(lines[:from:from], append([][]byte{item}, lines[to:]...)...)
	}
	return bytes.Join(lines, nil), true
}

// anchored tells whether a part of the document is named or used by name: it is then not written in one
// place alone.
func anchored(n *yamlv3.Node) bool {
	return n.Anchor != "" || n.Kind == yamlv3.AliasNode || slices.ContainsFunc(n.Content, anchored)
}

// content tells whether a line of YAML is more than a comment, a blank or the end of a document.
func content(line []byte) bool {
	l := bytes.TrimSpace(line)
	return len(l) > 0 && l[0] != '#' && string(l) != "..."
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package xds

import "time"

// Limits of the notes of one stream. What is above them is dropped and counted.
const (
	// maxNoteBytes of the names and values of a note's metadata together.
	maxNoteBytes = 4096
	// noteBurst notes may come one after the other, and then one every noteEvery.
	noteBurst = 20
	noteEvery = 100 * time.Millisecond
)

// Note is what a client told last in requests of one of the types Options.Notes. Such a request asks for
// nothing and is never answered.
type Note struct {
	TypeURL string
	// Metadata are those fields of its node's metadata that Options.NoteFields names and that are strings.
	// They are not changed once they were read.
	Metadata map[string]string
	// At is when it came.
	At time.Time
}

// note keeps a note, if it is one within the limits.
func (ss *session) note(r *request) {
	n := Note{TypeURL: r.url, At: ss.srv.now()}
	if r.node != nil {
		n.Metadata = r.node.Metadata
	}
	size := 0
	for k, v := range n.Metadata {
		size += len(k) + len(v)
	}
	switch {
	case size > maxNoteBytes:
		ss.srv.metrics.dropped.WithLabelValues("oversized").Inc()
		return
	case len(n.Metadata) == 0:
		ss.srv.metrics.dropped.WithLabelValues("empty").Inc()
		return
	case !ss.afford(n.At):
		ss.srv.metrics.dropped.WithLabelValues("frequent").Inc()
		return
	}
	ss.srv.metrics.notes.Inc()
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for i := range ss.notes {
		if ss.notes[i].TypeURL == r.url {
			ss.notes[i] = n
			return
		}
	}
	ss.notes = append(ss.notes, n)
}

// afford says whether another note may come now. Notes are paid for with time: the account holds at most
// that of noteBurst notes, and is full when the stream begins.
func (ss *session) afford(now time.Time) bool {
	if earliest := now.Add(-noteBurst * noteEvery); ss.notesPaid.Before(earliest) {
		ss.notesPaid = earliest
	}
	if next := ss.notesPaid.Add(noteEvery); !next.After(now) {
		ss.notesPaid = next
		return true
	}
	return false
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package referenced

// queue holds what is to be read, each once. Namespaces take turns, so that none waits for all reads of another.
// The zero value is empty.
type queue struct {
	turns []string         // namespaces with something to read, each once
	refs  map[string][]Ref // by namespace
	in    map[Ref]bool
}

func (q *queue) add(r Ref) {
	if q.in[r] {
		return
	}
	if q.in == nil {
		q.in, q.refs = map[Ref]bool{}, map[string][]Ref{}
	}
	ns := r.Key.Namespace
	if len(q.refs[ns]) == 0 {
		q.turns = append(q.turns, ns)
	}
	q.in[r], q.refs[ns] = true, append(q.refs[ns], r)
}

// next takes what is to be read next.
func (q *queue) next() (r Ref, ok bool) {
	if len(q.turns) == 0 {
		return Ref{}, false
	}
	ns := q.turns[0]
	q.turns = q.turns[1:]
	r = q.refs[ns][0]
	if q.refs[ns] = q.refs[ns][1:]; len(q.refs[ns]) > 0 {
		q.turns = append(q.turns, ns)
	} else {
		delete(q.refs, ns)
	}
	delete(q.in, r)
	return r, true
}

func (q *queue) empty() bool { return len(q.turns) == 0 }

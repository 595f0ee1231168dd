// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package upgrade

import "tulle.dev/tulle/internal/printable"

// asLines returns the decision with each text for people as one line. Parts of them are written by whoever writes a
// pod: annotations, images, what its proxy reports.
func (d Decision) asLines() Decision {
	if d.Status != nil {
		s := d.Status.DeepCopy()
		s.Message, s.Difference = printable.Line(s.Message), printable.Line(s.Difference)
		for i := range s.Gates {
			s.Gates[i].Message = printable.Line(s.Gates[i].Message)
		}
		d.Status = s
	}
	for i := range d.Events {
		d.Events[i].Message = printable.Line(d.Events[i].Message)
	}
	return d
}

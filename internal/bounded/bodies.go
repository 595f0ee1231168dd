// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package bounded

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"time"
)

// BodyLimits bound the bodies of requests.
type BodyLimits struct {
	// Bytes is the size of one body.
	Bytes int64
	// Shape is the structure of one body, which is JSON.
	Shape Shape
}

// Bodies reads bodies of requests within a budget of bytes. Safe for concurrent use.
type Bodies struct {
	most   BodyLimits
	budget *Budget
}

// NewBodies returns Bodies. The budget is in bytes.
func NewBodies(most BodyLimits, budget BudgetOptions) *Bodies {
	return &Bodies{most, NewBudget(budget)}
}

// Body is a body that was read. It holds its part of the budget until Release.
type Body struct {
	Bytes []byte
	Seen  Shape
	lease *Lease
}

// Release gives the part of the budget back. The bytes must not be used any more.
func (b *Body) Release() { b.lease.Release() }

// Refusal is why a request is not served, with the HTTP status to answer.
type Refusal struct {
	Status  int
	Message string
	// Retry is when asking again can help; 0: it can't.
	Retry time.Duration
}

// Error implements error.
func (r *Refusal) Error() string { return r.Message }

// piece is how much is read or written and counted at a time, in bytes.
const piece = 16 << 10

// Read reads the body of a request. It takes its length from the budget before it reads anything, and
// ends at the first byte that is too much. While other requests wait, a body that arrives slowly is given up.
func (b *Bodies) Read(w http.ResponseWriter, r *http.Request) (*Body, *Refusal) {
	size := r.ContentLength
	if size > b.most.Bytes {
		return nil, b.tooLarge()
	}
	if size < 0 {
		size = b.most.Bytes // not said
	}
	control := http.NewResponseController(w)
	// A request holds memory even without a body.
	lease, err := b.budget.Acquire(r.Context(), Address(r), size+piece, func() {
		_ = control.SetReadDeadline(time.Unix(1, 0)) // without deadlines the body comes from memory
	})
	if err != nil {
		return nil, Busy("the control plane reads as many requests as it may at a time")
	}
	out := &Body{lease: lease}
	if no := b.read(w, r, out, size); no != nil {
		lease.Release()
		return nil, no
	}
	lease.Settle()
	return out, nil
}

func (b *Bodies) read(w http.ResponseWriter, r *http.Request, out *Body, size int64) *Refusal {
	body := http.MaxBytesReader(w, r.Body, b.most.Bytes)
	scan := NewScanner(b.most.Shape)
	for {
		if int64(len(out.Bytes)) > size {
			return b.tooLarge() // more than was announced
		}
		if len(out.Bytes) == cap(out.Bytes) {
			// What is allocated follows what has arrived, not what was announced.
			grown := make([]byte, len(out.Bytes), min(max(2*int64(cap(out.Bytes)), piece), size+1))
			copy(grown, out.Bytes)
			out.Bytes = grown
		}
		n, err := body.Read(out.Bytes[len(out.Bytes):min(len(out.Bytes)+piece, cap(out.Bytes))])
		came := out.Bytes[len(out.Bytes) : len(out.Bytes)+n]
		out.Bytes = out.Bytes[:len(out.Bytes)+n]
		if bad := scan.Scan(came); bad != nil {
			return &Refusal{Status: http.StatusRequestEntityTooLarge, Message: fmt.Sprintf("the request has %v: send fewer", bad)}
		}
		var large *http.MaxBytesError
		switch {
		case errors.Is(err, io.EOF):
			out.Seen = scan.Seen()
			return nil
		case errors.As(err, &large):
			return b.tooLarge()
		case err != nil && out.lease.Revoked():
			return Busy("the request arrived too slowly while others were waiting")
		case err != nil:
			return &Refusal{Status: http.StatusBadRequest, Message: "the request did not arrive as a whole: send it again"}
		}
	}
}

func (b *Bodies) tooLarge() *Refusal {
	return &Refusal{Status: http.StatusRequestEntityTooLarge, Message: fmt.Sprintf("the request is larger than %d bytes: send a smaller one", b.most.Bytes)}
}

// Busy returns the refusal of a request that may be sent again in a moment.
func Busy(why string) *Refusal {
	return &Refusal{Status: http.StatusTooManyRequests, Message: why + ": send the request again in a moment", Retry: time.Second}
}

// Address returns the address that a request came from; headers that proxies add are not believed.
func Address(r *http.Request) netip.Addr {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap()
}

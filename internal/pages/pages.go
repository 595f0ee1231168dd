// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pages

import (
	"context"
	"errors"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// MaxBytes bounds a page of several objects. Reading and decoding it takes some four times as much memory.
	MaxBytes = 4 << 20
	// maxOne bounds a page of a single object. An API server with the usual settings accepts 1.5 MiB.
	maxOne = 16 << 20
	// first, most are numbers of objects in a page.
	first = 100
	most  = 500
)

// List is a list of the API server.
type List interface{ GetContinue() string }

// Read calls use with one page after the other. list must request limit objects, after token, with the context that
// it gets; if its answer is too large, it is called again for fewer. The client must use Transport; otherwise only
// the number of objects is bounded.
func Read[L List](ctx context.Context, list func(ctx context.Context, limit int64, token string) (L, error), use func(L) error) error {
	limit, token := int64(first), ""
	for {
		b := &budget{left: MaxBytes}
		if limit == 1 {
			b.left = maxOne
		}
		page, err := list(context.WithValue(ctx, budgetKey{}, b), limit, token)
		switch {
		case b.exceeded() && limit > 1:
			limit = max(1, limit/4)
			continue
		case b.exceeded():
			return errTooLarge
		case err != nil:
			return err
		}
		if err := use(page); err != nil {
			return err
		}
		if token = page.GetContinue(); token == "" {
			return nil
		}
		if n := b.read(); n > 0 && n < MaxBytes/4 {
			limit = min(most, limit*2)
		}
	}
}

// Each calls use with each page of a list. fresh returns an empty list. Options must not have a limit or a token.
func Each[L client.ObjectList](ctx context.Context, r client.Reader, fresh func() L, use func(L) error, options ...client.ListOption) error {
	return Read(ctx, func(ctx context.Context, limit int64, token string) (L, error) {
		list := fresh()
		return list, r.List(ctx, list, append([]client.ListOption{client.Limit(limit), client.Continue(token)}, options...)...)
	}, use)
}

// errTooLarge is about an object that is larger than an API server accepts.
var errTooLarge = errors.New("an object of the API server is larger than 16 MiB")

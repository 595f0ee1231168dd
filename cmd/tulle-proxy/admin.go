// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"context"
	"os"

	"tulle.dev/tulle/internal/dataplane/admin"
)

// runAdmin prints what the active Envoy answers; only paths that read are let through.
func runAdmin(args []string) error {
	return admin.Run(context.Background(), args, os.Stdout)
}

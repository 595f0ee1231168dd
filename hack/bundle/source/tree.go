// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package source

import (
	"fmt"
	"os"
	"path/filepath"
)

// WriteTree replaces the given files and folders below dir by the generated
// files, whose paths are relative to dir.
func WriteTree(dir string, owned []string, files map[string][]byte) error {
	for _, o := range owned {
		if err := os.RemoveAll(filepath.Join(dir, o)); err != nil {
			return fmt.Errorf("remove the old %s: %w", o, err)
		}
	}
	for path, content := range files {
		file := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return fmt.Errorf("make the folder of %s: %w", path, err)
		}
		if err := os.WriteFile(file, content, 0o644); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
	}
	return nil
}

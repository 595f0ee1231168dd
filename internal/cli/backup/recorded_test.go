// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package backup

import (
	"bytes"
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var record = flag.String("record", "", "write a backup that this release makes into that file")

// TestRecord writes a backup. "bin/images record" runs it in the sources of the previous release.
func TestRecord(t *testing.T) {
	f, err := Make(newWorld(t, "z", years).Seen, true, "0.2.0", now())
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := f.Write(&b); err != nil {
		t.Fatal(err)
	}
	if *record == "" {
		return
	}
	if err := os.WriteFile(*record, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestOlderBackup: a backup that the previous release made is restored: the mesh has that release, its identities
// and its roots.
func TestOlderBackup(t *testing.T) {
	text, err := os.ReadFile("testdata/backup-0.2.0.yaml")
	if err != nil {
		t.Fatal(err)
	}
	f, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Restore(f, fresh(), options(), now())
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, "z", years)
	same, err := Restore(w.file(t, true), fresh(), options(), now())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(made(same), made(p)); d != "" || len(p.Roots) != len(same.Roots) {
		t.Errorf("other objects than of a backup of today (-want +got):\n%s", d)
	}
	if f.TrustDomain != "z" || !bytes.Contains(text, []byte("version: 0.2.0")) {
		t.Errorf("trust domain %s", f.TrustDomain)
	}
}

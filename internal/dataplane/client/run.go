// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"tulle.dev/tulle/internal/dataplane/identity"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// Settings are what is needed. All are required.
type Settings struct {
	Pod, PodUID, Namespace string
	// Host is the control plane's, the name in its certificate; Sign and ADS are its addresses, host:port.
	Host, Sign, ADS string
	// TokenFile is the pod's token, TrustFile the mesh's roots; both are kept current by the kubelet.
	TokenFile, TrustFile string
	// Dir is where files are written.
	Dir string
}

// FromEnv reads the settings of a container; get is os.Getenv. The error names everything that is wrong.
func FromEnv(get func(string) string, dir string) (Settings, error) {
	s := Settings{
		Pod: get(protocol.EnvPod), PodUID: get(protocol.EnvPodUID), Namespace: get(protocol.EnvNamespace), Host: get(protocol.EnvControlPlane),
		TokenFile: protocol.TokenFile, TrustFile: protocol.TrustFile, Dir: dir,
	}
	if s.Host == "" {
		s.Host = names.ControlPlaneService + "." + names.SystemNamespace + ".svc"
	}
	s.Sign = net.JoinHostPort(s.Host, strconv.Itoa(names.PortSign))
	s.ADS = net.JoinHostPort(s.Host, strconv.Itoa(names.PortADS))
	var wrong []error
	for name, v := range map[string]string{protocol.EnvPod: s.Pod, protocol.EnvPodUID: s.PodUID, protocol.EnvNamespace: s.Namespace} {
		if v == "" {
			wrong = append(wrong, fmt.Errorf("%s is not set", name))
		}
	}
	return s, errors.Join(wrong...)
}

// look is how often the mesh's roots are read: the kubelet replaces them without a word.
const look = 2 * time.Second

// Run writes the files and keeps them current until the context ends. It goes on without a control
// plane: what there is stays as it is.
func Run(ctx context.Context, s Settings, log *slog.Logger) error {
	b, err := s.Bootstrap()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.Dir, 0o755); err != nil { //nolint:gosec // other containers of the pod read it
		return fmt.Errorf("make the directory: %w", err)
	}
	if err := writeFile(filepath.Join(s.Dir, BootstrapFile), b); err != nil {
		return err
	}
	signer := &identity.Signer{
		Addr: s.Sign, Host: s.Host, Pod: s.Pod, PodUID: s.PodUID, TokenFile: s.TokenFile, TrustFile: s.TrustFile,
	}
	renewed := make(chan struct{}, 1)
	keeper := identity.NewKeeper(signer.Sign, func(*identity.Certificate) {
		select {
		case renewed <- struct{}{}:
		default:
		}
	}, log)
	done := make(chan struct{})
	go func() { defer close(done); keeper.Run(ctx) }()
	defer func() { <-done }()
	w := writer{dir: s.Dir}
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		if c := keeper.Current(); c != nil {
			if err := w.write(c, s.TrustFile); err != nil {
				log.Error("The files are not current", "problem", err.Error())
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-renewed:
		case <-tick.C:
		}
	}
}

// Ready tells whether everything has been written.
func Ready(dir string) error {
	for _, f := range []string{BootstrapFile, filepath.Join(current, certificateFile)} {
		if _, err := os.Stat(filepath.Join(dir, f)); err != nil {
			return fmt.Errorf("not ready: %w", err)
		}
	}
	return nil
}

// writer replaces certificate, key and roots together.
type writer struct {
	dir string
	// What was written last.
	cert  *identity.Certificate
	roots []byte
}

func (w *writer) write(c *identity.Certificate, trustFile string) error {
	roots, err := identity.ReadAnchors(trustFile)
	if err != nil {
		return err
	}
	if c == w.cert && bytes.Equal(roots, w.roots) {
		return nil
	}
	next := "files-" + strconv.FormatInt(time.Now().UnixNano(), 36) // a name that no earlier run has used
	dir := filepath.Join(w.dir, next)
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // as above
		return fmt.Errorf("make a directory: %w", err)
	}
	for name, b := range map[string][]byte{certificateFile: c.Chain, keyFile: c.Key, rootsFile: roots} {
		if err := writeFile(filepath.Join(dir, name), b); err != nil {
			return err
		}
	}
	link := filepath.Join(w.dir, current)
	old, _ := os.Readlink(link)  // none at first
	_ = os.Remove(link + ".new") // of a container that ended here
	if err := os.Symlink(next, link+".new"); err != nil {
		return fmt.Errorf("link the files: %w", err)
	}
	if err := os.Rename(link+".new", link); err != nil {
		return fmt.Errorf("link the files: %w", err)
	}
	w.cert, w.roots = c, roots
	if old != "" && old != next {
		return os.RemoveAll(filepath.Join(w.dir, old))
	}
	return nil
}

// writeFile writes for all users of the pod: the application runs as another one than this program.
func writeFile(file string, b []byte) error {
	if err := os.WriteFile(file, b, 0o644); err != nil { //nolint:gosec // see above
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

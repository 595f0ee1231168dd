// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package ca

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"tulle.dev/tulle/internal/names"
)

// ErrNotReady says that there is no usable intermediate yet.
var ErrNotReady = errors.New("no intermediate certificate yet: is cert-manager running and the Mesh's issuer ready?")

// AuthorityOptions say where an Authority finds its files.
type AuthorityOptions struct {
	// Dir is the mounted Secret names.IntermediateSecret: tls.crt, tls.key and perhaps ca.crt.
	Dir string
	// TrustFile is the mounted bundle of active roots (names.TrustKey of names.TrustConfigMap). Empty
	// or missing: the root in Dir alone. Beside it are the files of names.IntermediatesKey and
	// names.SignersKey; if the former is missing, chains need only end in a root.
	TrustFile   string
	TrustDomain string
	// DNSNames are the names the control plane serves under; at least one.
	DNSNames []string
	// Skew is how far clocks may be apart, asked at each look; nil means not at all. A new intermediate
	// waits until it is that old if there is another one to sign with meanwhile.
	Skew func() time.Duration
	// Distributed names further intermediates that every proxy trusts, as SHA-256 in hex, beside those in the
	// file of names.SignersKey, which the kubelet writes some time later. It is asked at each look; nil: none.
	Distributed func() []string
	// Interval between looks at the files; 0 means 5 s. Polling, because the kubelet changes a mounted
	// Secret by swapping a symlink and a watch on it can be lost without a word.
	Interval time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	Log logr.Logger
	// Metrics may be nil.
	Metrics *Metrics
}

// errHeld says that signing waits, because some proxy may not trust the intermediate yet.
var errHeld = errors.New("the intermediate certificate is new and is being distributed to the proxies")

// holdFor is how long a replica that starts with an intermediate that is still being distributed does not
// sign. After that the operator is taken to be away: a certificate that some peers may not accept yet is
// better than none.
const holdFor = 10 * time.Minute

// Authority holds the intermediate, the active roots and the control plane's serving certificate,
// and keeps them current. Safe for concurrent use.
type Authority struct {
	opts    AuthorityOptions
	started time.Time

	// reloading lets one reload run at a time; it guards last, lastErr and waiting.
	reloading sync.Mutex
	last      files
	lastErr   string
	waiting   bool // what was read last has a new intermediate that is not used yet

	// mu guards the fields below.
	mu      sync.RWMutex
	current *material
	since   time.Time // when current's intermediate was taken
	own     *tls.Certificate
	err     error
	changed chan struct{}
}

// NewAuthority makes an Authority and loads it once. It succeeds without an intermediate: the
// control plane may start before cert-manager has issued it; see Ready.
func NewAuthority(opts AuthorityOptions) (*Authority, error) {
	if opts.Dir == "" || opts.TrustDomain == "" || len(opts.DNSNames) == 0 {
		return nil, errors.New("an Authority needs Dir, TrustDomain and DNSNames")
	}
	if opts.Interval <= 0 {
		opts.Interval = 5 * time.Second
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Skew == nil {
		opts.Skew = func() time.Duration { return 0 }
	}
	a := &Authority{opts: opts, started: opts.Now(), err: ErrNotReady, changed: make(chan struct{})}
	a.Reload()
	return a, nil
}

// Run keeps the Authority current until the context ends.
func (a *Authority) Run(ctx context.Context) error {
	tick := time.NewTicker(a.opts.Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			a.Reload()
		}
	}
}

// Reload looks at the files now. What cannot be used is logged once and changes nothing: the last
// good intermediate goes on signing until its life ends.
func (a *Authority) Reload() {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	err := a.reload()
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != a.lastErr && err != nil {
		a.opts.Log.Error(err, "Keeping the last good intermediate", "dir", a.opts.Dir)
	}
	a.lastErr = text
	a.opts.Metrics.reloaded(err)
}

func (a *Authority) reload() error {
	now := a.opts.Now()
	f, err := read(a.opts.Dir, a.opts.TrustFile)
	if err != nil {
		a.unusable(err)
		return err
	}
	if a.opts.Distributed != nil {
		f.signers = append(f.signers, []byte("\n"+strings.Join(a.opts.Distributed(), "\n"))...)
	}
	a.mu.RLock()
	m, own, since := a.current, a.own, a.since
	a.mu.RUnlock()
	if changed := m == nil || !f.equal(a.last); changed || a.waiting {
		next, err := materialFrom(f, a.opts.TrustDomain, now)
		if err != nil {
			a.unusable(err)
			return err
		}
		used := successor(m, next, a.opts.Skew(), now)
		a.waiting = used != next
		if changed || used == next {
			// An agent reads the mesh's intermediates from a file that the kubelet writes, some time after a
			// proxy has them. So what is served stays for spreadTime, if it can be verified.
			if own != nil && !used.signed(own.Leaf) {
				own = nil
			}
			m = used
		}
	}
	former := own != nil && Fingerprint(m.issuer.chain[0]) != signerOf(own) && m == a.current && now.Sub(since) >= spreadTime
	if own == nil || former || stale(own, now) {
		if own, err = m.issuer.serving(a.opts.DNSNames, now); err != nil {
			a.unusable(err)
			return err
		}
	}
	a.last = f
	a.publish(m, own)
	return nil
}

// spreadTime is how long the kubelets take at most to write a changed ConfigMap into pods: their interval of a
// minute, and their cache's.
const spreadTime = 2 * time.Minute

// signerOf names the intermediate that signed a serving certificate.
func signerOf(c *tls.Certificate) string {
	sum := sha256.Sum256(c.Certificate[1])
	return hex.EncodeToString(sum[:])
}

// stale tells whether half of a serving certificate's life is over.
func stale(c *tls.Certificate, now time.Time) bool {
	life := c.Leaf.NotAfter.Sub(c.Leaf.NotBefore)
	return now.After(c.Leaf.NotBefore.Add(life / 2))
}

// unusable records why there is still nothing to sign with.
func (a *Authority) unusable(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.current == nil {
		a.err = fmt.Errorf("%w (%w)", ErrNotReady, err)
	}
}

func (a *Authority) publish(m *material, own *tls.Certificate) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if m != a.current {
		a.opts.Log.Info("Loaded intermediate", "subject", m.issuer.chain[0].Subject.String(),
			"serial", m.issuer.chain[0].SerialNumber.Text(16), "until", m.issuer.until)
		if a.current == nil || !a.current.issuer.same(m.issuer) {
			a.since = a.opts.Now()
		}
		if a.current == nil || a.current.rootPEM != m.rootPEM || a.current.pem != m.pem {
			close(a.changed)
			a.changed = make(chan struct{})
		}
	}
	a.current, a.own, a.err = m, own, nil
	a.opts.Metrics.expires(m.issuer.until)
}

// Ready says why the Authority cannot sign, or nil.
func (a *Authority) Ready() error {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if a.err != nil {
		return a.err
	}
	if a.current.issuer.until.Sub(a.opts.Now()) < margin+minLifetime {
		return errSpent
	}
	return nil
}

// Trust is what certificates of the mesh are verified by, PEM.
type Trust struct {
	// Roots are the active roots: the union of the trust bundle and of the root the intermediate was
	// signed with.
	Roots string
	// Intermediates are those that a chain must pass through: the union of the mesh's intermediates and of
	// those that this replica has. Empty: a chain need only end in one of Roots.
	Intermediates string
}

// Anchors are the certificates that a chain must end in.
func (t Trust) Anchors() string {
	if t.Intermediates != "" {
		return t.Intermediates
	}
	return t.Roots
}

// Trust returns what is trusted now, in the same order on every replica. It is empty before the first
// load. The channel is closed when it changes.
func (a *Authority) Trust() (Trust, <-chan struct{}) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if a.current == nil {
		return Trust{}, a.changed
	}
	return Trust{Roots: a.current.rootPEM, Intermediates: a.current.pem}, a.changed
}

// Signs is what certificates are signed with now. The zero value: nothing yet.
type Signs struct {
	// Roots names the roots by which the certificates can be verified, Intermediate what signs them: both as
	// SHA-256 in hex.
	Roots        []string
	Intermediate string
	// Serves is the intermediate that signed what it serves with.
	Serves string
	// Since is when signing with this intermediate began.
	Since time.Time
}

// Signs returns what certificates are signed with now.
func (a *Authority) Signs() Signs {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if a.current == nil {
		return Signs{}
	}
	return Signs{Roots: a.current.signs, Intermediate: Fingerprint(a.current.issuer.chain[0]), Serves: signerOf(a.own), Since: a.since}
}

// signer returns what to sign certificates of workloads with. A replica that has just started has no
// earlier intermediate: if its only one is not distributed yet, it waits, for holdFor at most.
func (a *Authority) signer() (*material, error) {
	m := a.material()
	switch {
	case m == nil:
		return nil, ErrNotReady
	case !m.maySign(m.issuer.chain[0]) && a.opts.Now().Sub(a.started) < holdFor:
		return nil, errHeld
	}
	return m, nil
}

// material returns the current material, or nil.
func (a *Authority) material() *material {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.current
}

// read reads the files. A mounted Secret is a directory whose files are symlinks through "..data",
// which the kubelet swaps: it is resolved once, so that key and certificate are of one generation.
func read(dir, trustFile string) (files, error) {
	if real, err := filepath.EvalSymlinks(filepath.Join(dir, "..data")); err == nil {
		dir = real
	}
	var f files
	var err error
	if f.chain, err = os.ReadFile(filepath.Join(dir, "tls.crt")); err != nil {
		return files{}, fmt.Errorf("read intermediate: %w", err)
	}
	if f.key, err = os.ReadFile(filepath.Join(dir, "tls.key")); err != nil {
		return files{}, fmt.Errorf("read intermediate: %w", err)
	}
	// An external issuer need not say what its root is; then the trust bundle must hold it.
	if f.issuerRoot, err = os.ReadFile(filepath.Join(dir, "ca.crt")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return files{}, fmt.Errorf("read intermediate: %w", err)
	}
	if trustFile == "" {
		return f, nil
	}
	dir, base := filepath.Split(trustFile)
	if real, err := filepath.EvalSymlinks(filepath.Join(dir, "..data")); err == nil {
		dir = real
	}
	for name, into := range map[string]*[]byte{base: &f.trust, names.IntermediatesKey: &f.intermediates, names.SignersKey: &f.signers} {
		if *into, err = os.ReadFile(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return files{}, fmt.Errorf("read trust bundle: %w", err)
		}
	}
	return f, nil
}

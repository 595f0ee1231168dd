// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/test/load"
)

// every is how often a stream tells how it stands.
const every = 500 * time.Millisecond

// recent is how far back the live view of the split looks.
const recent = 4 * time.Second

// stream is a flow of requests under way. Safe for concurrent use.
type stream struct {
	name string

	mu   sync.Mutex
	seen []sample // guarded by mu; in order of time
	done chan error
}

// sample is a summary and when it came.
type sample struct {
	at time.Time
	load.Summary
}

func (s *stream) add(sum load.Summary) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, sample{time.Now(), sum})
}

// last is the newest summary; zero before the first.
func (s *stream) last() load.Summary {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.seen) == 0 {
		return load.Summary{}
	}
	return s.seen[len(s.seen)-1].Summary
}

// between is what was counted from the first summary after one moment to the last before another.
func (s *stream) between(from, to time.Time) map[string]map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	var first, last *sample
	for i := range s.seen {
		x := &s.seen[i]
		if first == nil && x.at.After(from) {
			first = x
		}
		if !x.at.After(to) {
			last = x
		}
	}
	if first == nil || last == nil || !last.at.After(first.at) {
		return nil
	}
	return difference(last.Versions, first.Versions)
}

// traffic runs both streams, moves the weights in the middle, and notes what happened.
func (d *demo) traffic(ctx context.Context) error {
	total := d.before + d.after
	pods, err := d.job(ctx, "between pods", "shopper", namespace, "http://reviews", total)
	if err != nil {
		return err
	}
	outside, err := d.outside(ctx, total)
	if err != nil {
		return err
	}
	streams := []*stream{outside, pods}
	started := time.Now()
	if err := d.show(ctx, streams, started.Add(d.before)); err != nil {
		return err
	}

	u, err := d.get(ctx, httpRoutes(), namespace, route)
	if err != nil || u == nil {
		return fmt.Errorf("read the route: %w", err)
	}
	type moment struct {
		taken, acked time.Time
		message      string
		err          error
	}
	watched := make(chan moment, 1)
	bounded, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	go func() {
		var m moment
		m.taken, m.acked, m.message, m.err = d.watchRoute(bounded, httpRoutes(), u.GetGeneration())
		watched <- m
	}()
	moved := time.Now()
	if err := d.kubectlApply(ctx, "apply", "-f", "config/samples/shop/split-50.yaml"); err != nil {
		return err
	}
	m := <-watched
	if m.err != nil {
		return m.err
	}
	d.say.line("%s, %s after the API server had it (%s after kubectl was called)", m.message,
		m.acked.Sub(m.taken).Round(time.Millisecond), m.acked.Sub(moved).Round(time.Millisecond))
	if err := d.show(ctx, streams, time.Time{}); err != nil {
		return err
	}
	d.result = result{
		streams: streams, started: started, moved: moved, acked: m.acked, taken: m.taken, message: m.message,
	}
	return nil
}

// outside calls the Gateway from here, or from a pod outside the mesh where the address can't be reached.
func (d *demo) outside(ctx context.Context, total time.Duration) (*stream, error) {
	if d.address == "" {
		return d.job(ctx, "through the Gateway", "visitor", "default", "http://"+names.GatewayResource(gateway)+"."+namespace, total)
	}
	s := &stream{name: "through the Gateway", done: make(chan error, 1)}
	go func() {
		_, err := load.Run(ctx, load.Options{
			URL: "http://" + d.address, Method: "POST", Rate: d.rate, Duration: total, Every: every, Progress: s.add,
		})
		s.done <- err
	}()
	return s, nil
}

// job sends requests from a pod, and follows its log. In a meshed namespace it gets its own proxy and identity.
func (d *demo) job(ctx context.Context, name, object, ns, url string, total time.Duration, more ...string) (*stream, error) {
	jobs := d.typed.BatchV1().Jobs(ns)
	gone := metav1.DeletePropagationForeground
	if err := jobs.Delete(ctx, object, metav1.DeleteOptions{PropagationPolicy: &gone}); err != nil && !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("delete the Job of the last time: %w", err)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: object}}
	if _, err := d.typed.CoreV1().ServiceAccounts(ns).Create(ctx, account, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return nil, fmt.Errorf("create ServiceAccount %s: %w", object, err)
	}
	want := loadJob(object, url, d.rate, total, more...)
	err := await(ctx, d.say, time.Minute, func(ctx context.Context) (bool, string, error) {
		_, err := jobs.Create(ctx, want, metav1.CreateOptions{})
		return err == nil, "", err
	})
	if err != nil {
		return nil, fmt.Errorf("create Job %s: %w", object, err)
	}
	d.jobs = append(d.jobs, types.NamespacedName{Namespace: ns, Name: object})
	d.say.line("Job %s/%s calls %s", ns, object, url)
	pod := ""
	err = await(ctx, d.say, 2*time.Minute, func(ctx context.Context) (bool, string, error) {
		list, err := d.typed.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{LabelSelector: "job-name=" + object})
		if err != nil || len(list.Items) == 0 {
			return false, "the Job has no pod yet", err
		}
		p := list.Items[0]
		pod = p.Name
		return started(p), "pod " + p.Name + " is " + string(p.Status.Phase), nil
	})
	if err != nil {
		return nil, err
	}
	s := &stream{name: name, done: make(chan error, 1)}
	logs, err := d.typed.CoreV1().Pods(ns).GetLogs(pod, &corev1.PodLogOptions{Container: "load", Follow: true}).Stream(ctx)
	if err != nil {
		return nil, fmt.Errorf("follow the log of %s: %w", pod, err)
	}
	go func() { s.done <- s.follow(logs) }()
	return s, nil
}

func started(p corev1.Pod) bool {
	for _, c := range p.Status.ContainerStatuses {
		if c.Name == "load" {
			return c.State.Running != nil || c.State.Terminated != nil
		}
	}
	return false
}

// follow reads summaries, one a line, until the last.
func (s *stream) follow(logs io.ReadCloser) error {
	defer logs.Close()
	lines := bufio.NewScanner(logs)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var sum load.Summary
		if err := json.Unmarshal(lines.Bytes(), &sum); err != nil {
			return fmt.Errorf("read the log: %w: %s", err, lines.Text())
		}
		s.add(sum)
		if sum.Done {
			return nil
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read the log: %w", err)
	}
	return fmt.Errorf("the log ended before the traffic did")
}

// show prints how the streams stand until a moment, or until both have ended when it is zero.
func (d *demo) show(ctx context.Context, streams []*stream, until time.Time) error {
	ended := 0
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for ended < len(streams) && (until.IsZero() || time.Now().Before(until)) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		var parts []string
		for _, s := range streams {
			select {
			case err := <-s.done:
				if err != nil {
					return fmt.Errorf("traffic %s: %w", s.name, err)
				}
				ended++
			default:
			}
			sum := s.last()
			v := s.between(time.Now().Add(-recent), time.Now())[route]
			parts = append(parts, fmt.Sprintf("%s: %4d sent, %d failed, reviews lately %s", s.name, sum.Sent, sum.Failed, share{v["v1"], v["v2"]}.short()))
		}
		d.say.now("%s", strings.Join(parts, " | "))
	}
	return nil
}

// loadJob is a Job that sends requests and ends; it satisfies Pod Security "restricted".
func loadJob(name, url string, rate float64, total time.Duration, more ...string) *batchv1.Job {
	no, yes, never := false, true, int32(0)
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: batchv1.JobSpec{
			BackoffLimit: &never,
			Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
				ServiceAccountName: name, AutomountServiceAccountToken: &no, RestartPolicy: corev1.RestartPolicyNever,
				SecurityContext: &corev1.PodSecurityContext{
					RunAsNonRoot: &yes, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
				},
				Containers: []corev1.Container{{
					Name: "load", Image: "tulle.local/load:dev", ImagePullPolicy: corev1.PullIfNotPresent,
					Args: append([]string{
						"-url", url, "-method", "POST", "-json", "-every", every.String(),
						"-rate", strconv.FormatFloat(rate, 'g', -1, 64), "-duration", total.String(),
					}, more...),
					SecurityContext: &corev1.SecurityContext{
						AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes,
						Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
					},
				}},
			}},
		},
	}
}

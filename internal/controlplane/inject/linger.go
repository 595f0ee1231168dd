// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package inject

import (
	corev1 "k8s.io/api/core/v1"
)

// defaultGrace is the API server's default of terminationGracePeriodSeconds.
const defaultGrace = 30

// linger lets every container that has no preStop hook of its own go on serving for some seconds
// after its pod's deletion. Until the peers' proxies know that the endpoint is gone they send to it,
// and an application that ends at once on SIGTERM would refuse them. Never more than a third of the
// pod's grace period, which the application needs for itself.
//
// Only ordinary containers: sidecars are stopped after those have ended.
func linger(pod *corev1.Pod, seconds int64) {
	seconds = min(seconds, grace(pod)/3)
	if seconds <= 0 {
		return
	}
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		if c.Lifecycle != nil && c.Lifecycle.PreStop != nil {
			continue
		}
		if c.Lifecycle == nil {
			c.Lifecycle = &corev1.Lifecycle{}
		}
		c.Lifecycle.PreStop = &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: seconds}}
	}
}

// grace is how long the pod gets to end, in seconds.
func grace(pod *corev1.Pod) int64 {
	if g := pod.Spec.TerminationGracePeriodSeconds; g != nil {
		return *g
	}
	return defaultGrace
}

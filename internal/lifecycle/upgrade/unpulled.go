// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package upgrade

import (
	"slices"

	"tulle.dev/tulle/internal/clip"
)

// longestImage is how much of an image's name a message has. Pods name images of any length.
const longestImage = 200

// unpulled says which pods are given an image that no node was brought before, and what to do; empty: none. It
// stays the same while the pods' proxies are replaced, as it is part of a condition.
// These are pods whose repository no known release names. Images of such repositories are not brought to the nodes:
// pods name them, and the operator runs nothing in its own namespace because a pod names it. A wave with such a pod
// fails if the repository does not have the image, and the upgrade is rolled back.
func (u *run) unpulled() string {
	goal := u.goal(u.s.To)
	var pods []string
	for _, p := range u.Pods {
		if !p.takesPart() || p.Obstacle != "" {
			continue
		}
		image := goal.imageFor(p.slot(other(p.target().Slot)).Image)
		if image == goal.Image || slices.Contains(u.Pulled, image) {
			continue
		}
		pods = append(pods, "Pod "+p.key()+" gets "+clip.Text(image, longestImage))
	}
	if len(pods) == 0 {
		return ""
	}
	slices.Sort(pods)
	return "images of repositories that no known release names are not pulled beforehand: " + some(pods) +
		"; make sure that they exist, or, if a former release was there, name its image in ConfigMap tulle-releases"
}

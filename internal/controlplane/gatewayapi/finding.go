// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// Reasons that Gateway API leaves to implementations.
const (
	// reasonConflicted: routes of another kind won the Service port or the host name (GEP-1294, GRPCRoute.hostnames).
	reasonConflicted = "Conflicted"
)

// Problem is one thing that is wrong, and the reason of the condition that reports it.
type Problem struct {
	Reason string
	Text   string // begins with the field
}

func problemf(reason gwapiv1.RouteConditionReason, field, format string, args ...any) Problem {
	return Problem{string(reason), field + ": " + fmt.Sprintf(format, args...)}
}

// unsupported is a value that can't be carried out.
func unsupported(field, format string, args ...any) Problem {
	return problemf(gwapiv1.RouteReasonUnsupportedValue, field, format, args...)
}

// shown is how many problems a message spells out.
const shown = 4

// Tell joins problems into one message.
func Tell(ps []Problem) string {
	var texts []string
	for _, p := range ps[:min(len(ps), shown)] {
		texts = append(texts, p.Text)
	}
	out := strings.Join(texts, "; ")
	if n := len(ps) - shown; n > 0 {
		out += fmt.Sprintf("; and %d more", n)
	}
	return out
}

// kindText names a kind in a message.
func kindText(group gwapiv1.Group, kind gwapiv1.Kind) string {
	if IsCore(group) {
		return string(kind) + " of the core group"
	}
	return string(group) + "/" + string(kind)
}

// list joins names as "a, b, c and 4 more"; "none" where there is none.
func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	out := strings.Join(names[:min(len(names), shown)], ", ")
	if n := len(names) - shown; n > 0 {
		out += fmt.Sprintf(" and %d more", n)
	}
	return out
}

// Finding is the state of one condition.
type Finding struct {
	OK      bool
	Reason  string
	Message string
}

// Condition returns the condition of a type, without times.
func (f Finding) Condition(kind string, generation int64) metav1.Condition {
	c := metav1.Condition{Type: kind, Status: metav1.ConditionFalse, ObservedGeneration: generation, Reason: f.Reason, Message: f.Message}
	if f.OK {
		c.Status = metav1.ConditionTrue
	}
	return c
}

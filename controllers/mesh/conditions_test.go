// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package mesh

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/api/v1alpha1"
)

// TestConditionsOf: conditions of other controllers stay as they are, Tulle's own that are no longer wanted
// go, and a time changes only with its status.
func TestConditionsOf(t *testing.T) {
	before, now := metav1.NewTime(time.Unix(1, 0)), time.Unix(2, 0)
	c := func(kind, status string, at metav1.Time) metav1.Condition {
		return metav1.Condition{Type: kind, Status: metav1.ConditionStatus(status), LastTransitionTime: at}
	}
	old := []metav1.Condition{
		c("example.com/Audited", "True", before), c(v1alpha1.ConditionReady, "False", before), c(v1alpha1.ConditionInUse, "True", before),
		c(v1alpha1.ConditionValid, "True", before),
	}
	want := []metav1.Condition{c(v1alpha1.ConditionReady, "True", metav1.Time{}), c(v1alpha1.ConditionValid, "True", metav1.Time{})}
	got := conditionsOf(want, old, now)
	expected := []metav1.Condition{
		c(v1alpha1.ConditionReady, "True", metav1.NewTime(now)), c(v1alpha1.ConditionValid, "True", before), c("example.com/Audited", "True", before),
	}
	if diff := cmp.Diff(expected, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestOwnConditions: the list has every condition of a Mesh that the API defines; those with a "/" are of
// other objects.
func TestOwnConditions(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../../api/v1alpha1/conditions.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	own, defined := ownConditions(), 0
	ast.Inspect(file, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(v.Names[0].Name, "Condition") {
			return true
		}
		literal, ok := v.Values[0].(*ast.BasicLit)
		if !ok {
			return true
		}
		kind, err := strconv.Unquote(literal.Value)
		if err != nil || strings.Contains(kind, "/") {
			return true
		}
		defined++
		if !slices.Contains(own, kind) {
			t.Errorf("%s is not among a Mesh's own conditions", kind)
		}
		return true
	})
	if defined != len(own) {
		t.Errorf("%d conditions are defined, %d are listed", defined, len(own))
	}
}

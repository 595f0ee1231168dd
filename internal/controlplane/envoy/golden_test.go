// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"sigs.k8s.io/yaml"

	"tulle.dev/tulle/internal/testing/golden"
	"tulle.dev/tulle/internal/testing/invariant"
	"tulle.dev/tulle/internal/testing/models"
	"tulle.dev/tulle/internal/testing/simulate"
	"tulle.dev/tulle/internal/testing/xdsyaml"
)

// question is an entry of requests.yaml: a connection, perhaps with a request, and what becomes of it.
type question struct {
	What string `json:"what"`
	simulate.Connection
	Want simulate.Outcome `json:"want"`
}

// TestGolden translates every case, compares the result, checks that the whole is valid, and asks
// who gets the requests of requests.yaml.
func TestGolden(t *testing.T) { goldenIn(t, "testdata") }

// TestGoldenClients does the same with what gRPC libraries read, which Envoy would not take.
func TestGoldenClients(t *testing.T) { goldenIn(t, "clientdata") }

func goldenIn(t *testing.T, root string) {
	t.Helper()
	golden.Cases(t, root, func(t *testing.T, c *golden.Case) {
		in := models.Decode(t, c.Input(t))
		got, err := xdsyaml.Encode(in.Resources())
		if err != nil {
			t.Fatal(err)
		}
		c.Compare(t, "xds.yaml", got)
		back, err := xdsyaml.Decode(got)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(in.Resources(), back, protocmp.Transform(), rawJSON()); diff != "" {
			t.Errorf("xds.yaml doesn't say everything (-made +read):\n%s", diff)
		}
		if err := invariant.Check(in.World()); err != nil {
			t.Error(err)
		}
		if b, ok := c.Optional(t, "requests.yaml"); ok {
			ask(t, simulate.New(in.World()), b)
		}
	})
}

// rawJSON compares what is not protobuf by its meaning.
func rawJSON() cmp.Option {
	return cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Raw" },
		cmp.Transformer("JSON", func(b []byte) any {
			var v any
			if len(b) > 0 && json.Unmarshal(b, &v) != nil {
				return b
			}
			return v
		}))
}

func ask(t *testing.T, w simulate.World, b []byte) {
	t.Helper()
	var questions []question
	if err := yaml.UnmarshalStrict(b, &questions); err != nil {
		t.Fatal(err)
	}
	if len(questions) == 0 {
		t.Fatal("requests.yaml asks nothing")
	}
	for _, q := range questions {
		got, err := w.Connect(q.Connection)
		if err != nil {
			t.Errorf("%s: %v", q.What, err)
			continue
		}
		// What is the same for all but the tests about it is compared only where a test names it.
		if q.Want.Retries == 0 && q.Want.RetryOn == "" {
			got.Retries, got.RetryOn = 0, ""
		}
		if q.Want.Rule == "" {
			got.Rule = ""
		}
		if diff := cmp.Diff(q.Want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", q.What, diff)
		}
	}
}

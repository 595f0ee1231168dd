// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayclass

import (
	"context"
	"encoding/json"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// patches records the patches of statuses.
type patches struct {
	client.Client
	written []map[string]any
}

type statusWriter struct {
	client.SubResourceWriter
	to *patches
}

func (p *patches) Status() client.SubResourceWriter { return statusWriter{to: p} }

func (w statusWriter) Patch(_ context.Context, o client.Object, patch client.Patch, _ ...client.SubResourcePatchOption) error {
	text, err := patch.Data(o)
	if err != nil {
		return err
	}
	var written map[string]any
	if err := json.Unmarshal(text, &written); err != nil {
		return err
	}
	w.to.written = append(w.to.written, written)
	return nil
}

// TestWriteOnlyToWhatWasRead: a patch of a status has all of its conditions, so the API server must refuse it
// if another controller has written any since the object was read.
func TestWriteOnlyToWhatWasRead(t *testing.T) {
	before := &gwapiv1.GatewayClass{ObjectMeta: metav1.ObjectMeta{Name: "tulle", ResourceVersion: "7"}}
	after := before.DeepCopy()
	meta.SetStatusCondition(&after.Status.Conditions, metav1.Condition{Type: "Accepted", Status: "True", Reason: "Accepted"})
	to := &patches{}
	r := &Reconciler{Client: to}
	if err := r.write(t.Context(), after, before, false); err != nil {
		t.Fatal(err)
	}
	if err := r.write(t.Context(), after, before, true); err != nil {
		t.Fatal(err)
	}
	if len(to.written) != 1 {
		t.Fatalf("%d patches", len(to.written))
	}
	if m, ok := to.written[0]["metadata"].(map[string]any); !ok || m["resourceVersion"] != "7" {
		t.Errorf("the patch is not bound to what was read: %v", to.written[0])
	}
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package api

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"tulle.dev/tulle/internal/controlplane/access"
	"tulle.dev/tulle/internal/names"
)

// TestWhoMayReadTheInternalPort: with the roles that are installed, and tokens of a real API server, the
// operator and the debug account may read the debug paths, and no other account; a person may do so who may
// create a token of the debug account, which takes one RoleBinding.
func TestWhoMayReadTheInternalPort(t *testing.T) {
	ctx := t.Context()
	kube := clientset(t, "")
	namespace(t, "tenant", nil)
	for _, a := range [][2]string{{system, names.Operator}, {system, "bystander"}, {"tenant", "web"}} {
		sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: a[0], Name: a[1]}}
		if _, err := kube.CoreV1().ServiceAccounts(a[0]).Create(ctx, sa, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatal(err)
		}
	}
	token := func(by kubernetes.Interface, namespace, account, audience string) (string, error) {
		r := &authenticationv1.TokenRequest{}
		if audience != "" {
			r.Spec.Audiences = []string{audience}
		}
		out, err := by.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, account, r, metav1.CreateOptions{})
		if err != nil {
			return "", err
		}
		return out.Status.Token, nil
	}
	guard := access.New(access.Options{
		Tokens: kube.AuthenticationV1().TokenReviews(), Access: kube.AuthorizationV1().SubjectAccessReviews(),
		Mesh: "tulle", Namespace: system, Audience: names.InternalAudience, Log: logr.Discard(),
	})
	asked := 0
	call := func(subresource, token string) int {
		asked++
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, names.PathProxies, http.NoBody)
		r.RemoteAddr = fmt.Sprintf("192.0.2.%d:1", asked) // new tokens from one address wait for each other
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		guard.Require(subresource, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(w, r)
		return w.Code
	}
	for name, c := range map[string]struct {
		namespace, account, audience string
		debug, progress              int
	}{
		"the operator":             {system, names.Operator, names.InternalAudience, 200, 200},
		"the debug account":        {system, names.DebugAccount, names.InternalAudience, 200, 403},
		"its token for the API":    {system, names.DebugAccount, "", 401, 401},
		"for the signing port":     {system, names.DebugAccount, names.TokenAudience("cluster.local"), 401, 401},
		"another account here":     {system, "bystander", names.InternalAudience, 403, 403},
		"a workload of a tenant's": {"tenant", "web", names.InternalAudience, 403, 403},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := token(kube, c.namespace, c.account, c.audience)
			if err != nil {
				t.Fatal(err)
			}
			if got := call(names.DebugResource, text); got != c.debug {
				t.Errorf("debug: %d, want %d", got, c.debug)
			}
			if got := call(names.ProgressResource, text); got != c.progress {
				t.Errorf("progress: %d, want %d", got, c.progress)
			}
		})
	}

	lead := clientset(t, "lead")
	if _, err := token(lead, system, names.DebugAccount, names.InternalAudience); !apierrors.IsForbidden(err) {
		t.Errorf("a person without the role: %v", err)
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: "lead"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: names.DebugAccount + "-user"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "lead"}},
	}
	if _, err := kube.RbacV1().RoleBindings(system).Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := kube.RbacV1().RoleBindings(system).Delete(context.Background(), "lead", metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	var text string
	eventually(t, "the binding works", func() string {
		var err error
		if text, err = token(lead, system, names.DebugAccount, names.InternalAudience); err != nil {
			return err.Error()
		}
		return ""
	})
	if got := call(names.DebugResource, text); got != http.StatusOK {
		t.Errorf("a person with the role: %d", got)
	}
	if _, err := token(lead, system, names.Operator, names.InternalAudience); !apierrors.IsForbidden(err) {
		t.Errorf("a person with the role gets the operator's token: %v", err)
	}
}

// clientset is an administrator's client, or a user's.
func clientset(t *testing.T, user string) kubernetes.Interface {
	t.Helper()
	config := server.Config
	if user != "" {
		config = as(user)
	}
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return kube
}

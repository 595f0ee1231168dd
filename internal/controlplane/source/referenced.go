// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package source

import (
	"context"
	"fmt"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/pages"
)

// Referenced is notified of changes of Secrets and ConfigMaps. Of these the metadata is watched, and nothing is
// kept; the contents are read by Source.Read, by name, and only of those that something refers to. Its methods
// are called from several goroutines, and must not wait for anything.
type Referenced interface {
	// Wanted reports whether changes of the object matter. Notifications of others are dropped.
	Wanted(kind Kind, k model.Key) bool
	// Changed says that the object has this resource version; "" if it was deleted.
	Changed(kind Kind, k model.Key, version string)
	// Listed says which of the wanted objects exist, and their resource versions.
	Listed(kind Kind, versions map[model.Key]string)
	// Unwatched says that the kind may not be watched. It is called again at every attempt.
	Unwatched(kind Kind)
}

// metadata is how the metadata of a kind is watched.
type metadata struct {
	kind   Kind
	fields fields.Selector // nil: all
}

// referenced are the kinds that are read by name.
func referenced() []metadata {
	return []metadata{
		{kind: TLSSecret, fields: fields.OneTermEqualSelector("type", string(corev1.SecretTypeTLS))},
		{kind: CAConfigMap},
		{kind: ClusterTrustBundle},
	}
}

func (m metadata) gvk() schema.GroupVersionKind {
	if m.kind == ClusterTrustBundle {
		return certificatesv1.SchemeGroupVersion.WithKind(string(m.kind))
	}
	return corev1.SchemeGroupVersion.WithKind(string(m.kind))
}

func (m metadata) list() *metav1.PartialObjectMetadataList {
	l := &metav1.PartialObjectMetadataList{}
	gvk := m.gvk()
	gvk.Kind += "List"
	l.SetGroupVersionKind(gvk)
	return l
}

// listWatch lists in pages, and passes on nothing but name and version of the objects that are wanted: neither
// the number of others nor what their annotations hold costs memory.
func (m metadata) listWatch(c client.WithWatch, to Referenced) cache.ListerWatcher {
	return pages.ListWatch(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			l := m.list()
			return l, c.List(ctx, l, &client.ListOptions{FieldSelector: m.fields, Limit: o.Limit, Continue: o.Continue})
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			w, err := c.Watch(ctx, m.list(), &client.ListOptions{Raw: &o, FieldSelector: m.fields})
			if err != nil {
				return nil, err
			}
			return watch.Filter(w, func(e watch.Event) (watch.Event, bool) {
				o, ok := e.Object.(*metav1.PartialObjectMetadata)
				if !ok || e.Type == watch.Bookmark || e.Type == watch.Error {
					return e, true
				}
				e.Object = m.trimmed(o)
				return e, to.Wanted(m.kind, keyOf(o))
			}), nil
		},
	}, func(o runtime.Object) (runtime.Object, error) {
		p, ok := o.(*metav1.PartialObjectMetadata)
		if !ok || !to.Wanted(m.kind, keyOf(p)) {
			return nil, nil
		}
		return m.trimmed(p), nil
	})
}

func (m metadata) trimmed(o *metav1.PartialObjectMetadata) *metav1.PartialObjectMetadata {
	out := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: o.Name, ResourceVersion: o.ResourceVersion}}
	out.SetGroupVersionKind(m.gvk())
	return out
}

// notices is the store into which a reflector puts metadata (cache.ReflectorStore). It keeps nothing.
type notices struct {
	kind Kind
	to   Referenced
}

func (n notices) Add(obj any) error { return n.changed(obj, false) }

func (n notices) Update(obj any) error { return n.changed(obj, false) }

func (n notices) Delete(obj any) error { return n.changed(obj, true) }

func (n notices) changed(obj any, gone bool) error {
	o, err := object(obj)
	if err != nil {
		return err
	}
	version := o.GetResourceVersion()
	if gone {
		version = ""
	}
	n.to.Changed(n.kind, keyOf(o), version)
	return nil
}

// Replace takes the complete list.
func (n notices) Replace(list []any, _ string) error {
	versions := make(map[model.Key]string, len(list))
	for _, obj := range list {
		o, err := object(obj)
		if err != nil {
			return err
		}
		versions[keyOf(o)] = o.GetResourceVersion()
	}
	n.to.Listed(n.kind, versions)
	return nil
}

// Resync has nothing to do: nothing here is ever lost.
func (n notices) Resync() error { return nil }

// watchReferenced watches the metadata of one kind until ctx ends. What is missing, a right or the API server,
// keeps nothing else from being delivered.
func (s *Source) watchReferenced(ctx context.Context, m metadata) {
	log := s.options.Log.WithValues("kind", string(m.kind))
	ctx = klog.NewContext(ctx, log)
	backoff := watchBackoff()
	o := &metav1.PartialObjectMetadata{}
	o.SetGroupVersionKind(m.gvk())
	r := cache.NewReflectorWithOptions(s.metadataWatcher(m), o, notices{m.kind, s.options.Referenced}, cache.ReflectorOptions{
		Name: "source/" + string(m.kind), Logger: &log, Backoff: &backoff,
	})
	reported := ""
	// The error is only ctx's.
	_ = backoff.DelayWithReset(clock.RealClock{}, time.Minute).Until(ctx, true, true, func(ctx context.Context) (bool, error) {
		err := r.ListAndWatchWithContext(ctx)
		if err == nil || ctx.Err() != nil {
			reported = ""
			return false, nil
		}
		message := "Watching again after an error"
		switch {
		case apierrors.IsForbidden(err):
			message = "Reading what is referred to from time to time: the kind may not be watched"
			s.options.Referenced.Unwatched(m.kind)
		case notServed(err):
			message = "Reading what is referred to from time to time: the API server does not serve the kind"
			s.options.Referenced.Unwatched(m.kind)
		}
		if reported != message {
			log.Info(message, "error", err.Error())
		}
		reported = message
		return false, nil
	})
}

// notServed reports whether the API server does not have a kind.
func notServed(err error) bool { return meta.IsNoMatchError(err) || apierrors.IsNotFound(err) }

// Read reads a Secret, a ConfigMap or a ClusterTrustBundle by name. object is what Event.Object holds for the kind; nil if the object does
// not exist, or has no certificates of authorities where it should. version is its resource version, also of
// one that counts for nothing. With an error object is what says so to the user, or nil. It may be called from any
// goroutine.
func (s *Source) Read(ctx context.Context, kind Kind, k model.Key) (object any, version string, err error) {
	return s.read(ctx, kind, k)
}

func readObject(ctx context.Context, c client.Reader, kind Kind, k model.Key) (object any, version string, err error) {
	get := func(o client.Object) (there bool, err error) {
		if err := c.Get(ctx, client.ObjectKey{Namespace: k.Namespace, Name: k.Name}, o); err != nil {
			if apierrors.IsNotFound(err) {
				return false, nil
			}
			return false, fmt.Errorf("get %s %s: %w", kind, k, err)
		}
		version = o.GetResourceVersion()
		return true, nil
	}
	switch kind {
	case TLSSecret:
		secret := &corev1.Secret{}
		there, err := get(secret)
		if apierrors.IsForbidden(err) {
			return TLS{TLSSecret: model.TLSSecret{Key: k}, Problem: mayNotRead(k)}, "", err
		}
		if err != nil || !there {
			return nil, version, err
		}
		return SecretFrom(secret), version, nil
	case CAConfigMap:
		m := &corev1.ConfigMap{}
		there, err := get(m)
		if apierrors.IsForbidden(err) {
			return CABundle{Key: k, Problem: mayNotRead(k)}, "", err
		}
		if err != nil || !there {
			return nil, version, err
		}
		return caBundle(m), version, nil
	case ClusterTrustBundle:
		b := &certificatesv1.ClusterTrustBundle{}
		there, err := get(b)
		switch {
		case apierrors.IsForbidden(err):
			return CABundle{Key: k, Problem: mayNotReadBundles}, "", err
		case meta.IsNoMatchError(err):
			return CABundle{Key: k, Problem: "this cluster does not serve the kind in certificates.k8s.io/v1, which Kubernetes has since 1.37; use a ConfigMap"}, "", err
		case err != nil || !there:
			return nil, version, err
		}
		return TrustBundleFrom(b), version, nil
	}
	return nil, "", fmt.Errorf("%s is not read by name", kind)
}

// mayNotReadBundles is mayNotRead for ClusterTrustBundles, which every service account may read by default.
const mayNotReadBundles = "the control plane has no right to read it: bind its service account to ClusterRole system:cluster-trust-bundle-discovery"

// mayNotRead is the problem of an object that the control plane has no right to read.
func mayNotRead(k model.Key) string {
	return "the control plane has no right to read it: bind its service account to ClusterRole " + names.GatewaySecretsRole +
		", or grant it the verb get on the object by a Role in namespace " + k.Namespace
}

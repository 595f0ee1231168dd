// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"tulle.dev/tulle/internal/cli/facts"
	"tulle.dev/tulle/internal/cli/ports"
	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/policy"
	"tulle.dev/tulle/internal/controlplane/source"
	"tulle.dev/tulle/internal/gatewaykinds"
	"tulle.dev/tulle/internal/pages"
)

// services reads what is needed to tell which ports meshed pods have and what they speak. The pods have been
// read before; without a meshed one there is nothing to read.
func (c *Cluster) services(ctx context.Context, f *facts.Facts) error {
	w := &f.World
	if len(w.Pods) == 0 {
		return nil
	}
	err := each(ctx, c.typed.CoreV1().Services("").List, metav1.ListOptions{}, func(list *corev1.ServiceList) error {
		for i := range list.Items {
			w.Services = append(w.Services, source.ServiceFrom(&list.Items[i]))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("list Services: %w", err)
	}
	err = each(ctx, c.typed.DiscoveryV1().EndpointSlices("").List, metav1.ListOptions{}, func(list *discoveryv1.EndpointSliceList) error {
		for i := range list.Items {
			if s, ok := source.SliceFrom(&list.Items[i]); ok {
				w.Slices = append(w.Slices, s)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("list EndpointSlices: %w", err)
	}
	var failed []error
	read := func(kind string, keep func(gatewaykinds.Object)) {
		k, _ := gatewaykinds.Find(kind)
		failed = append(failed, c.objects(ctx, f, k, keep))
	}
	for _, k := range gatewayapi.MeshKinds() {
		read(k.Name, func(o gatewaykinds.Object) { w.Routes = append(w.Routes, k.Parse(o)) })
	}
	for _, k := range policy.Kinds() {
		read(k.Name, func(o gatewaykinds.Object) { w.Policies = append(w.Policies, k.Parse(o)) })
	}
	return errors.Join(failed...)
}

// objects reads the objects of a kind, if it is installed.
func (c *Cluster) objects(ctx context.Context, f *facts.Facts, kind gatewaykinds.Kind, keep func(gatewaykinds.Object)) error {
	if k, there := f.Kinds[kind.Definition()]; !there || !slices.Contains(k.Served, kind.Version) {
		return nil
	}
	gvr := schema.GroupVersionResource{Group: kind.Group, Version: kind.Version, Resource: kind.Plural}
	err := each(ctx, c.resource(gvr), metav1.ListOptions{}, func(list *unstructured.UnstructuredList) error {
		for _, u := range list.Items {
			r := kind.New()
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, r); err != nil {
				return fmt.Errorf("read %s/%s: %w", u.GetNamespace(), u.GetName(), err)
			}
			keep(r)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("list %s: %w", kind.Plural, err)
	}
	return nil
}

// each calls use with each page of a list, which list requests.
func each[L pages.List](ctx context.Context, list func(context.Context, metav1.ListOptions) (L, error), o metav1.ListOptions, use func(L) error) error {
	return pages.Read(ctx, func(ctx context.Context, limit int64, token string) (L, error) {
		o.Limit, o.Continue = limit, token
		return list(ctx, o)
	}, use)
}

// resource lists the objects of a resource.
func (c *Cluster) resource(gvr schema.GroupVersionResource) func(context.Context, metav1.ListOptions) (*unstructured.UnstructuredList, error) {
	return func(ctx context.Context, o metav1.ListOptions) (*unstructured.UnstructuredList, error) {
		return c.dynamic.Resource(gvr).List(ctx, o)
	}
}

// eachPod calls use with each pod that has not ended.
func (c *Cluster) eachPod(ctx context.Context, namespace, selector string, use func(*corev1.Pod) error) error {
	return each(ctx, c.typed.CoreV1().Pods(namespace).List, metav1.ListOptions{LabelSelector: selector}, func(list *corev1.PodList) error {
		for i := range list.Items {
			if p := &list.Items[i]; !ended(p) {
				if err := use(p); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// calls reads what makes the API server call a Service: webhooks of admission and APIServices. The webhooks
// that convert objects are in the definitions; see kinds.
func (c *Cluster) calls(ctx context.Context, f *facts.Facts) error {
	if len(f.World.Pods) == 0 {
		return nil
	}
	var failed []error
	validating, err := c.typed.AdmissionregistrationV1().ValidatingWebhookConfigurations().List(ctx, metav1.ListOptions{})
	if err != nil {
		failed = append(failed, fmt.Errorf("list ValidatingWebhookConfigurations: %w", err))
	} else {
		for _, config := range validating.Items {
			for _, hook := range config.Webhooks {
				f.Calls = append(f.Calls, admissionCall("ValidatingWebhookConfiguration", config.Name, hook.ClientConfig.Service, hook.FailurePolicy)...)
			}
		}
	}
	mutating, err := c.typed.AdmissionregistrationV1().MutatingWebhookConfigurations().List(ctx, metav1.ListOptions{})
	if err != nil {
		failed = append(failed, fmt.Errorf("list MutatingWebhookConfigurations: %w", err))
	} else {
		for _, config := range mutating.Items {
			for _, hook := range config.Webhooks {
				f.Calls = append(f.Calls, admissionCall("MutatingWebhookConfiguration", config.Name, hook.ClientConfig.Service, hook.FailurePolicy)...)
			}
		}
	}
	gvr := schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"}
	aggregated, err := c.dynamic.Resource(gvr).List(ctx, metav1.ListOptions{})
	if err != nil {
		return errors.Join(append(failed, fmt.Errorf("list APIServices: %w", err))...)
	}
	for _, u := range aggregated.Items {
		f.Calls = append(f.Calls, callOf("APIService", u.GetName(), u.Object, "spec", "service")...)
	}
	return errors.Join(failed...)
}

// defaultCallPort is the port that the API server calls unless its configuration says another.
const defaultCallPort = 443

func admissionCall(kind, name string, s *admissionv1.ServiceReference, policy *admissionv1.FailurePolicyType) []ports.Call {
	if s == nil {
		return nil // it calls a URL
	}
	call := ports.Call{
		Kind: kind, Name: name, Service: model.Key{Namespace: s.Namespace, Name: s.Name}, Port: defaultCallPort,
		Fail: policy == nil || *policy == admissionv1.Fail,
	}
	if s.Port != nil {
		call.Port = uint16(*s.Port)
	}
	return []ports.Call{call}
}

// callOf reads a reference to a Service that is at a path of fields, if it is there.
func callOf(kind, name string, object map[string]any, path ...string) []ports.Call {
	s, there, _ := unstructured.NestedMap(object, path...)
	if !there {
		return nil
	}
	call := ports.Call{Kind: kind, Name: name, Port: defaultCallPort, Fail: true}
	call.Service.Namespace, _, _ = unstructured.NestedString(s, "namespace")
	call.Service.Name, _, _ = unstructured.NestedString(s, "name")
	if port, there, _ := unstructured.NestedInt64(s, "port"); there {
		call.Port = uint16(port)
	}
	return []ports.Call{call}
}

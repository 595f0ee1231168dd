// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cluster

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"tulle.dev/tulle/internal/cli/facts"
	"tulle.dev/tulle/internal/controlplane/source"
	"tulle.dev/tulle/internal/names"
)

func (c *Cluster) webhooks(ctx context.Context, f *facts.Facts) error {
	list, err := c.typed.AdmissionregistrationV1().MutatingWebhookConfigurations().List(ctx, metav1.ListOptions{LabelSelector: names.LabelMesh})
	if err != nil {
		return err
	}
	for _, config := range list.Items {
		for _, hook := range config.Webhooks {
			w, err := c.webhook(ctx, config.Name, hook)
			if err != nil {
				return err
			}
			f.Webhooks = append(f.Webhooks, w)
		}
	}
	return nil
}

func (c *Cluster) webhook(ctx context.Context, config string, hook admissionv1.MutatingWebhook) (facts.Webhook, error) {
	w := facts.Webhook{Configuration: config, Name: hook.Name, RootsEnd: lastEnd(hook.ClientConfig.CABundle)}
	svc := hook.ClientConfig.Service
	if svc == nil {
		return w, nil
	}
	w.Service = svc.Namespace + "/" + svc.Name
	backends, err := c.typed.DiscoveryV1().EndpointSlices(svc.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: discoveryv1.LabelServiceName + "=" + svc.Name,
	})
	if err != nil {
		return w, err
	}
	for _, s := range backends.Items {
		for _, e := range s.Endpoints {
			if e.Conditions.Ready == nil || *e.Conditions.Ready {
				w.Endpoints++
			}
		}
	}
	return w, nil
}

// lastEnd is when the last certificate of a PEM bundle ends; zero when there is none to read.
func lastEnd(bundle []byte) time.Time {
	var last time.Time
	for {
		block, rest := pem.Decode(bundle)
		if block == nil {
			return last
		}
		bundle = rest
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil && cert.NotAfter.After(last) {
			last = cert.NotAfter
		}
	}
}

// installs is what "kubectl apply -k config/default" creates that an ordinary user may not.
func installs() [][3]string {
	return [][3]string{
		{"create", "", "namespaces"},
		{"create", "apiextensions.k8s.io", "customresourcedefinitions"},
		{"create", "rbac.authorization.k8s.io", "clusterroles"},
		{"create", "rbac.authorization.k8s.io", "clusterrolebindings"},
		{"create", "admissionregistration.k8s.io", "mutatingwebhookconfigurations"},
		{"create", "admissionregistration.k8s.io", "validatingadmissionpolicies"},
		{"create", "apps", "deployments"},
		{"create", names.Group, "meshes"},
	}
}

func (c *Cluster) rights(ctx context.Context, f *facts.Facts) error {
	for _, r := range installs() {
		review, err := c.typed.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
			Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
				Verb: r[0], Group: r[1], Resource: r[2],
			}},
		}, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		f.Rights = append(f.Rights, facts.Right{Verb: r[0], Group: r[1], Resource: r[2], Allowed: review.Status.Allowed})
	}
	return nil
}

// namespaces lists those that ask for injection by their label or by the Mesh's selector.
func (c *Cluster) namespaces(ctx context.Context, f *facts.Facts) error {
	selector := labels.Nothing()
	if m, there := f.ActiveMesh(); there && m.Spec.Injection.NamespaceSelector != nil {
		s, err := metav1.LabelSelectorAsSelector(m.Spec.Injection.NamespaceSelector)
		if err != nil {
			return fmt.Errorf("spec.injection.namespaceSelector: %w", err)
		}
		selector = s
	}
	list, err := c.typed.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, ns := range list.Items {
		asked := ns.Labels[names.LabelInject] == names.InjectEnabled ||
			ns.Labels[names.LabelInject] == "" && selector.Matches(labels.Set(ns.Labels))
		if asked && ns.Name != c.System(ctx) && !strings.HasPrefix(ns.Name, "kube-") {
			f.Namespaces = append(f.Namespaces, facts.Namespace{Name: ns.Name, Enforce: ns.Labels["pod-security.kubernetes.io/enforce"]})
		}
	}
	return nil
}

// pods lists those that carry a proxy, and in the namespaces that ask for injection those that do not.
func (c *Cluster) pods(ctx context.Context, f *facts.Facts) error {
	err := c.eachPod(ctx, metav1.NamespaceAll, names.LabelProxy, func(p *corev1.Pod) error {
		proxy := podOf(p)
		if proxy.Kind == names.KindSidecar {
			proxy.Containers = containersOf(p)
		}
		f.Proxies = append(f.Proxies, proxy)
		f.World.Pods = append(f.World.Pods, source.WorkloadFrom(p))
		return nil
	})
	if err != nil {
		return err
	}
	for _, ns := range f.Namespaces {
		err := c.eachPod(ctx, ns.Name, "!"+names.LabelProxy+","+names.LabelInject+"!="+names.InjectDisabled, func(p *corev1.Pod) error {
			f.Bare = append(f.Bare, podOf(p))
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func ended(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed || p.DeletionTimestamp != nil
}

func podOf(p *corev1.Pod) facts.Pod {
	out := facts.Pod{
		Namespace: p.Namespace, Name: p.Name, Created: p.CreationTimestamp.Time,
		Kind: p.Labels[names.LabelProxy], Version: p.Labels[names.LabelVersion], Revision: p.Labels[names.LabelRevision],
		Asks:     p.Labels[names.LabelInject] == names.InjectEnabled,
		Warnings: warningsOf(p.Annotations[names.AnnotationInjected]),
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			out.Ready = c.Status == corev1.ConditionTrue
			out.Message = c.Message
		}
		// Init container tulle-wait ends when the proxy is ready. A Gateway's pod has none, and is ready when its proxy is.
		if c.Type == corev1.PodInitialized && out.Kind == names.KindSidecar || c.Type == corev1.PodReady {
			out.Started = out.Started || c.Status == corev1.ConditionTrue
		}
	}
	waiting := slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses)
	for _, s := range waiting {
		if w := s.State.Waiting; w != nil && w.Message != "" {
			out.Message = s.Name + ": " + w.Reason + ": " + w.Message
		}
	}
	return out
}

// NamespaceLabels reads a namespace's labels; one that does not exist has none.
func (c *Cluster) NamespaceLabels(ctx context.Context, name string) (map[string]string, error) {
	ns, err := c.typed.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
	if IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return ns.Labels, nil
}

// proxyImageFlag is how the operator tells the control plane which image to inject.
const proxyImageFlag = "--proxy-image="

// ProxyImage is the image that the control plane injects.
func (c *Cluster) ProxyImage(ctx context.Context) (string, error) {
	list, err := c.typed.AppsV1().Deployments(c.System(ctx)).List(ctx, metav1.ListOptions{LabelSelector: names.LabelRevision})
	if err != nil {
		return "", err
	}
	for _, d := range list.Items {
		for _, container := range d.Spec.Template.Spec.Containers {
			for _, arg := range slices.Concat(container.Command, container.Args) {
				if image, ok := strings.CutPrefix(arg, proxyImageFlag); ok {
					return image, nil
				}
			}
		}
	}
	return "", fmt.Errorf("no Deployment in %s has an argument %s", c.System(ctx), proxyImageFlag)
}

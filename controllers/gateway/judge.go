// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gateway

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/gatewayspec"
	"tulle.dev/tulle/internal/lifecycle/health"
	"tulle.dev/tulle/internal/lifecycle/render"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/pages"
)

// refusal tells whether a Gateway is not accepted. What follows from its spec alone is decided here, as
// the control plane does; for the rest the control plane's condition on this generation counts.
func refusal(gw *gwapiv1.Gateway) (refused bool, why string) {
	if r := gatewayspec.Refuse(gw); r != nil {
		return true, "the Gateway is not accepted: " + r.Message
	}
	c := meta.FindStatusCondition(gw.Status.Conditions, string(gwapiv1.GatewayConditionAccepted))
	if c != nil && c.ObservedGeneration == gw.Generation && c.Status == metav1.ConditionFalse {
		return true, "the Gateway is not accepted; its condition Accepted says why"
	}
	return false, ""
}

// judged tells whether the control plane has decided about this generation of a Gateway.
func judged(gw *gwapiv1.Gateway) bool {
	c := meta.FindStatusCondition(gw.Status.Conditions, string(gwapiv1.GatewayConditionAccepted))
	return c != nil && c.ObservedGeneration == gw.Generation && c.Status != metav1.ConditionUnknown
}

// judge looks at the Deployment and the Service.
func (r *Reconciler) judge(ctx context.Context, gw *gwapiv1.Gateway, sets []gwapiv1.ListenerSet, service string) (health.Verdict, error) {
	if len(render.GatewayPorts(gw, sets...)) == 0 {
		return health.Verdict{Reason: v1alpha1.ReasonNoPorts, Message: "the Gateway has no listener; add one, of protocol HTTP for example"}, nil
	}
	key := client.ObjectKey{Namespace: gw.Namespace, Name: names.GatewayResource(gw.Name)}
	d := &appsv1.Deployment{}
	if err := r.Live.Get(ctx, key, d); client.IgnoreNotFound(err) != nil {
		return health.Verdict{}, fmt.Errorf("get Deployment %s: %w", key, err)
	}
	if d.Status.ReadyReplicas == 0 {
		pods, err := r.pods(ctx, gw)
		if err != nil {
			return health.Verdict{}, err
		}
		h := health.Deployment(d, pods, "the proxy")
		return health.Verdict{Reason: v1alpha1.ReasonProxyNotReady, Message: h.Message}, nil
	}
	key.Name = service
	svc := &corev1.Service{}
	if err := r.Live.Get(ctx, key, svc); client.IgnoreNotFound(err) != nil {
		return health.Verdict{}, fmt.Errorf("get Service %s: %w", key, err)
	}
	if svc.Spec.Type == corev1.ServiceTypeLoadBalancer && len(svc.Status.LoadBalancer.Ingress) == 0 && len(svc.Spec.ExternalIPs) == 0 {
		return health.Verdict{Reason: v1alpha1.ReasonAddressPending, Message: noAddress(gw, svc)}, nil
	}
	return health.Verdict{Good: true, Reason: v1alpha1.ReasonDeployed, Message: "the proxies of the Gateway serve"}, nil
}

// explained is how many pods are looked at to say why none is ready.
const explained = 100

// pods are some of a Gateway's pods, with what health.Deployment looks at.
func (r *Reconciler) pods(ctx context.Context, gw *gwapiv1.Gateway) ([]corev1.Pod, error) {
	var out []corev1.Pod
	err := pages.Each(ctx, r.Live, func() *corev1.PodList { return &corev1.PodList{} }, func(list *corev1.PodList) error {
		for _, p := range list.Items {
			if len(out) < explained {
				out = append(out, health.PodState(p))
			}
		}
		return nil
	}, client.InNamespace(gw.Namespace), client.MatchingLabels{names.LabelGateway: names.GatewayLabel(gw.Name), names.LabelProxy: names.KindGateway})
	if err != nil {
		return nil, fmt.Errorf("list Pods of Gateway %s/%s: %w", gw.Namespace, gw.Name, err)
	}
	return out, nil
}

// noAddress says what to do about a load balancer without an address.
func noAddress(gw *gwapiv1.Gateway, svc *corev1.Service) string {
	if ip := render.WantedIP(gw); ip != "" {
		return fmt.Sprintf("Service %s asks for the address %s of spec.addresses and has not got it: write an address that this cluster's load balancers can give and that is not in use, or remove the value to get any", svc.Name, ip)
	}
	return fmt.Sprintf(
		"Service %s of type LoadBalancer has no address yet; see its events. If nothing in this cluster gives addresses to load balancers, set the type to NodePort or ClusterIP: spec.gateway.serviceType of the Mesh, or annotation %s in spec.infrastructure.annotations of the Gateway", svc.Name, names.AnnotationServiceType,
	)
}

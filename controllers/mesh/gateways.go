// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package mesh

import (
	"context"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/lifecycle/plan"
	"tulle.dev/tulle/internal/lifecycle/upgrade"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/pages"
)

// gatewayDeployments looks at the Deployments of the Gateways that Tulle serves. A Deployment counts if it has the name
// that the operator gives it and the Gateway owns it. A tenant can make such a Deployment only for a Gateway of its own.
func (r *Reconciler) gatewayDeployments(ctx context.Context, o *plan.Observed) ([]upgrade.GatewayDeployment, error) {
	if !o.GatewayAPI {
		return nil, nil
	}
	var in references
	for _, list := range []client.ObjectList{&in.classes, &in.gateways} {
		if err := r.Cache.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return nil, fmt.Errorf("list %T: %w", list, err)
		}
	}
	served := in.servedGateways()
	if len(served) == 0 {
		return nil, nil
	}
	var out []upgrade.GatewayDeployment
	err := pages.Each(ctx, r.Live, func() *appsv1.DeploymentList { return &appsv1.DeploymentList{} }, func(list *appsv1.DeploymentList) error {
		for i := range list.Items {
			d := &list.Items[i]
			gw, ok := served[client.ObjectKeyFromObject(d)]
			if ok && ownedBy(d, gw.uid) && d.DeletionTimestamp.IsZero() {
				out = append(out, upgrade.GatewayFrom(d, gw.name))
			}
		}
		return nil
	}, client.HasLabels{names.LabelGateway}, client.MatchingLabels{names.LabelManagedBy: names.Operator})
	if err != nil {
		return nil, fmt.Errorf("list Deployments of Gateways: %w", err)
	}
	return out, nil
}

type servedGateway struct {
	name string
	uid  types.UID
}

// servedGateways are the Gateways of classes of this controller, by the key of their Deployments.
func (r *references) servedGateways() map[client.ObjectKey]servedGateway {
	controller := r.controllers()
	out := map[client.ObjectKey]servedGateway{}
	for i := range r.gateways.Items {
		gw := &r.gateways.Items[i]
		if controller[gw.Spec.GatewayClassName] == names.ControllerName && gw.DeletionTimestamp.IsZero() {
			out[client.ObjectKey{Namespace: gw.Namespace, Name: names.GatewayResource(gw.Name)}] = servedGateway{gw.Name, gw.UID}
		}
	}
	return out
}

// controllers are the controllers of classes.
func (r *references) controllers() map[gwapiv1.ObjectName]gwapiv1.GatewayController {
	out := map[gwapiv1.ObjectName]gwapiv1.GatewayController{
		// The operator creates its own class again if it is missing; meanwhile its Gateways are served.
		names.GatewayClass: names.ControllerName,
	}
	for _, c := range r.classes.Items {
		out[gwapiv1.ObjectName(c.Name)] = c.Spec.ControllerName
	}
	return out
}

func ownedBy(o client.Object, uid types.UID) bool {
	return slices.ContainsFunc(o.GetOwnerReferences(), func(ref metav1.OwnerReference) bool { return ref.UID == uid })
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package api

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/names"
)

// newGateway creates a Gateway of class tulle with a listener for HTTP. At the end of the test it is deleted
// with all that was made for it: nothing collects garbage here.
func newGateway(t *testing.T, ns, name string, annotations map[string]string) *gwapiv1.Gateway {
	t.Helper()
	gw := &gwapiv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Spec: gwapiv1.GatewaySpec{
		GatewayClassName: "tulle", Listeners: []gwapiv1.Listener{listener("http", 80, "HTTP")},
	}}
	annotate(gw, annotations)
	if err := admin.Create(t.Context(), gw); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background() // the test's own has ended
		_ = admin.Delete(ctx, gw)
		for _, o := range append(
			madeFor(ns, names.GatewayResource(name)),
			&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: names.GatewayService(name)}},
			&autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: names.GatewayResource(name)}},
		) {
			if admin.Get(ctx, client.ObjectKeyFromObject(o), o) == nil && ownedBy(o, gw) {
				_ = admin.Delete(ctx, o)
			}
		}
	})
	return gw
}

func annotate(gw *gwapiv1.Gateway, annotations map[string]string) {
	gw.Spec.Infrastructure = nil
	for k, v := range annotations {
		if gw.Spec.Infrastructure == nil {
			gw.Spec.Infrastructure = &gwapiv1.GatewayInfrastructure{Annotations: map[gwapiv1.AnnotationKey]gwapiv1.AnnotationValue{}}
		}
		gw.Spec.Infrastructure.Annotations[gwapiv1.AnnotationKey(k)] = gwapiv1.AnnotationValue(v)
	}
}

func ownedBy(o client.Object, gw *gwapiv1.Gateway) bool {
	return slices.ContainsFunc(o.GetOwnerReferences(), func(r metav1.OwnerReference) bool { return r.UID == gw.UID })
}

// says waits for a message of condition Deployed that has all of the words.
func says(t *testing.T, gw *gwapiv1.Gateway, words ...string) {
	t.Helper()
	eventually(t, "Gateway "+gw.Name+" says "+words[0], func() string {
		there(t, gw)
		c := meta.FindStatusCondition(gw.Status.Conditions, v1alpha1.ConditionDeployed)
		if c == nil || slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(c.Message, w) }) {
			return fmt.Sprintf("%+v", c)
		}
		return ""
	})
}

// absent checks that none of a Gateway's objects is there, but for some kinds.
func absent(t *testing.T, ns, name string, but ...client.Object) {
	t.Helper()
	for _, o := range madeFor(ns, name) {
		if slices.ContainsFunc(but, func(b client.Object) bool { return fmt.Sprintf("%T", b) == fmt.Sprintf("%T", o) }) {
			continue
		}
		if err := admin.Get(t.Context(), client.ObjectKeyFromObject(o), o); client.IgnoreNotFound(err) != nil || err == nil {
			t.Errorf("%T %s is there: %v", o, name, err)
		}
	}
}

// gatewayNames: case 21.
func gatewayNames(t *testing.T) {
	namespace(t, "gw-names", nil)
	for _, name := range []string{
		"edge.example", "1edge", "1.2.3.4", "a-gateway-whose-name-is-as-long-as-some-charts-make-them-by-joining",
		strings.Repeat("a", 63), strings.TrimSuffix(strings.Repeat("abcdefg.", 32), ".")[:253],
	} {
		gw := newGateway(t, "gw-names", name, nil)
		deployed(t, gw, metav1.ConditionFalse, v1alpha1.ReasonProxyNotReady)
		d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "gw-names", Name: names.GatewayResource(name)}}
		svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "gw-names", Name: names.GatewayService(name)}}
		there(t, d)
		there(t, svc)
		if !ownedBy(d, gw) || !ownedBy(svc, gw) || svc.Spec.Selector[names.LabelGateway] != d.Spec.Template.Labels[names.LabelGateway] {
			t.Errorf("%s: Service %+v", name, svc)
		}
	}
}

// gatewayNameTaken: an object of the name that is not the Gateway's is never adopted, changed or deleted.
func gatewayNameTaken(t *testing.T) {
	namespace(t, "gw-taken", nil)
	at := metav1.ObjectMeta{Namespace: "gw-taken", Name: "front-tulle", Labels: map[string]string{"app.kubernetes.io/managed-by": "somebody"}}
	theirs := &corev1.Service{ObjectMeta: at, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 9}}}}
	account := &corev1.ServiceAccount{ObjectMeta: at}
	for _, o := range []client.Object{theirs, account} {
		if err := admin.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	version := theirs.ResourceVersion
	gw := newGateway(t, "gw-taken", "front", nil)
	deployed(t, gw, metav1.ConditionFalse, v1alpha1.ReasonNameTaken)
	says(t, gw, "ServiceAccount front-tulle, Service front-tulle of namespace gw-taken already exists", "give the Gateway another name")
	absent(t, "gw-taken", "front-tulle", theirs, account)

	// Nor when the Gateway leaves.
	update(t, gw, func() { gw.Spec.GatewayClassName = "other" })
	eventually(t, "the condition goes", func() string {
		there(t, gw)
		if c := meta.FindStatusCondition(gw.Status.Conditions, v1alpha1.ConditionDeployed); c != nil {
			return fmt.Sprintf("%+v", c)
		}
		return ""
	})
	there(t, theirs)
	if theirs.ResourceVersion != version {
		t.Errorf("the Service has changed: %+v", theirs)
	}
	update(t, gw, func() { gw.Spec.GatewayClassName = "tulle" })
	deployed(t, gw, metav1.ConditionFalse, v1alpha1.ReasonNameTaken)
	for _, o := range []client.Object{theirs, account} {
		if err := admin.Delete(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	deployed(t, gw, metav1.ConditionFalse, v1alpha1.ReasonProxyNotReady)

	// One that is in the way of what runs already: what runs goes on.
	auto := &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: at, Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
		ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "front-tulle"}, MaxReplicas: 3,
	}}
	if err := admin.Create(t.Context(), auto); err != nil {
		t.Fatal(err)
	}
	update(t, gw, func() { annotate(gw, map[string]string{"tulle.dev/max-replicas": "9"}) })
	deployed(t, gw, metav1.ConditionFalse, v1alpha1.ReasonNameTaken)
	says(t, gw, "HorizontalPodAutoscaler front-tulle")
	there(t, auto)
	if auto.Spec.MaxReplicas != 3 || len(auto.OwnerReferences) > 0 {
		t.Errorf("the autoscaler has changed: %+v", auto)
	}
	for _, o := range madeFor("gw-taken", "front-tulle")[:3] {
		there(t, o)
	}
}

// gatewayRefused: case 37.
func gatewayRefused(t *testing.T) {
	namespace(t, "gw-refused", nil)
	for name, change := range map[string]func(*gwapiv1.Gateway){
		"parameters": func(gw *gwapiv1.Gateway) {
			gw.Spec.Infrastructure = &gwapiv1.GatewayInfrastructure{ParametersRef: &gwapiv1.LocalParametersReference{Group: "net.example", Kind: "ProxySettings", Name: "small"}}
		},
		"address": func(gw *gwapiv1.Gateway) {
			gw.Spec.Addresses = []gwapiv1.GatewaySpecAddress{{Type: ptr(gwapiv1.AddressType("net.example/pool")), Value: "blue"}}
		},
		"settings": func(gw *gwapiv1.Gateway) { annotate(gw, map[string]string{"tulle.dev/service-type": "Balanced"}) },
	} {
		gw := &gwapiv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: "gw-refused", Name: name}, Spec: gwapiv1.GatewaySpec{
			GatewayClassName: "tulle", Listeners: []gwapiv1.Listener{listener("http", 80, "HTTP")},
		}}
		change(gw)
		if err := admin.Create(t.Context(), gw); err != nil {
			t.Fatal(err)
		}
		deployed(t, gw, metav1.ConditionFalse, v1alpha1.ReasonNotAccepted)
		absent(t, "gw-refused", name+"-tulle")
		if err := admin.Delete(t.Context(), gw); err != nil {
			t.Fatal(err)
		}
	}

	// What ran before the mistake stays, and serves again after it.
	gw := newGateway(t, "gw-refused", "late", map[string]string{"tulle.dev/service-type": "NodePort"})
	deployed(t, gw, metav1.ConditionFalse, v1alpha1.ReasonProxyNotReady)
	serve(t, "gw-refused", "late-tulle", 1)
	deployed(t, gw, metav1.ConditionTrue, v1alpha1.ReasonDeployed)
	update(t, gw, func() { annotate(gw, map[string]string{"tulle.dev/service-type": "Nodeport"}) })
	deployed(t, gw, metav1.ConditionFalse, v1alpha1.ReasonNotAccepted)
	says(t, gw, `annotations[tulle.dev/service-type]: "Nodeport" is not supported`, "what was deployed for it before stays as it is")
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "gw-refused", Name: "late-tulle"}}
	if there(t, svc); svc.Spec.Type != corev1.ServiceTypeNodePort {
		t.Errorf("the Service is of type %s", svc.Spec.Type)
	}
	there(t, &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "gw-refused", Name: "late-tulle"}})
	update(t, gw, func() { annotate(gw, map[string]string{"tulle.dev/service-type": "ClusterIP"}) })
	deployed(t, gw, metav1.ConditionTrue, v1alpha1.ReasonDeployed)

	// So it is with what only the control plane can know.
	refuse := func(status metav1.ConditionStatus) {
		there(t, gw)
		meta.SetStatusCondition(&gw.Status.Conditions, metav1.Condition{Type: "Accepted", Status: status, Reason: "ListenersNotValid", ObservedGeneration: gw.Generation})
		if err := admin.Status().Update(t.Context(), gw); err != nil {
			t.Fatal(err)
		}
	}
	refuse(metav1.ConditionFalse)
	deployed(t, gw, metav1.ConditionFalse, v1alpha1.ReasonNotAccepted)
	refuse(metav1.ConditionTrue)
	deployed(t, gw, metav1.ConditionTrue, v1alpha1.ReasonDeployed)
}

// gatewayScaled: case 23.
func gatewayScaled(t *testing.T) {
	namespace(t, "gw-scaled", nil)
	edit(t, "tulle", func(m *v1alpha1.Mesh) { m.Spec.Gateway.Replicas = ptr(int32(2)) })
	gw := newGateway(t, "gw-scaled", "edge", nil)
	deployed(t, gw, metav1.ConditionFalse, v1alpha1.ReasonProxyNotReady)
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "gw-scaled", Name: "edge-tulle"}}
	replicas := func(n int32) {
		t.Helper()
		eventually(t, fmt.Sprint(n, " replicas"), func() string {
			if there(t, d); *d.Spec.Replicas != n {
				return fmt.Sprint(*d.Spec.Replicas)
			}
			return ""
		})
	}
	scale := func(n int32) {
		t.Helper()
		there(t, d)
		s := &autoscalingv1.Scale{ObjectMeta: metav1.ObjectMeta{Namespace: d.Namespace, Name: d.Name, ResourceVersion: ""}, Spec: autoscalingv1.ScaleSpec{Replicas: n}}
		if err := admin.SubResource("scale").Update(t.Context(), d, client.WithSubResourceBody(s), client.FieldOwner("kubectl")); err != nil {
			t.Fatal(err)
		}
	}
	// settled waits until the operator has seen all there is: a change of the Gateway that it reports.
	settled := func() {
		t.Helper()
		update(t, gw, func() { gw.Spec.Listeners[0].Port++ })
		deployed(t, gw, metav1.ConditionFalse, v1alpha1.ReasonProxyNotReady)
	}
	replicas(2)
	scale(3)
	settled()
	replicas(3)
	generation := d.Generation
	settled()
	if there(t, d); d.Generation != generation {
		t.Errorf("the Deployment changes without end: generation %d, then %d", generation, d.Generation)
	}
	edit(t, "tulle", func(m *v1alpha1.Mesh) { m.Spec.Gateway.Replicas = ptr(int32(4)) })
	settled()
	replicas(3)
	// Scaled to the number in the spec, it follows the spec again.
	scale(4)
	settled()
	edit(t, "tulle", func(m *v1alpha1.Mesh) { m.Spec.Gateway.Replicas = ptr(int32(5)) })
	replicas(5)
	update(t, gw, func() { annotate(gw, map[string]string{"tulle.dev/replicas": "1"}) })
	replicas(1)

	// Its own autoscaler: bounds, and no number beside it.
	update(t, gw, func() {
		annotate(gw, map[string]string{"tulle.dev/min-replicas": "2", "tulle.dev/max-replicas": "8", "tulle.dev/target-cpu-percent": "60"})
	})
	auto := &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Namespace: "gw-scaled", Name: "edge-tulle"}}
	there(t, auto)
	if !ownedBy(auto, gw) || *auto.Spec.MinReplicas != 2 || auto.Spec.MaxReplicas != 8 || *auto.Spec.Metrics[0].Resource.Target.AverageUtilization != 60 {
		t.Errorf("autoscaler %+v", auto.Spec)
	}
	replicas(1) // no drop to the default, and the autoscaler raises it
	scale(7)
	settled()
	replicas(7)
	update(t, gw, func() { annotate(gw, nil) })
	gone(t, auto)
	replicas(5)
	edit(t, "tulle", func(m *v1alpha1.Mesh) { m.Spec.Gateway.Replicas = ptr(int32(2)) })
}

// gatewayService: case 26, and the settings beside it.
func gatewayService(t *testing.T) {
	namespace(t, "gw-service", nil)
	gw := newGateway(t, "gw-service", "edge", nil)
	deployed(t, gw, metav1.ConditionFalse, v1alpha1.ReasonProxyNotReady)
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "gw-service", Name: "edge-tulle"}}
	there(t, svc)
	before := svc.DeepCopy()
	svc.Spec.ExternalTrafficPolicy, svc.Spec.Ports[0].NodePort = corev1.ServiceExternalTrafficPolicyLocal, 30987
	svc.Annotations = map[string]string{"example.com/pool": "blue"}
	if err := admin.Patch(t.Context(), svc, client.MergeFrom(before), client.FieldOwner("platform")); err != nil {
		t.Fatal(err)
	}
	update(t, gw, func() { gw.Spec.Listeners = append(gw.Spec.Listeners, listener("more", 8080, "HTTP")) })
	eventually(t, "the Service follows", func() string {
		if there(t, svc); len(svc.Spec.Ports) != 2 {
			return fmt.Sprintf("%+v", svc.Spec.Ports)
		}
		return ""
	})
	if svc.Spec.ExternalTrafficPolicy != corev1.ServiceExternalTrafficPolicyLocal || svc.Spec.Ports[0].NodePort != 30987 || svc.Annotations["example.com/pool"] != "blue" {
		t.Errorf("what others set has gone: %+v %v", svc.Spec, svc.Annotations)
	}
	is := func(kind corev1.ServiceType, policy corev1.ServiceExternalTrafficPolicy) {
		t.Helper()
		eventually(t, fmt.Sprint(kind, " ", policy), func() string {
			if there(t, svc); svc.Spec.Type != kind || svc.Spec.ExternalTrafficPolicy != policy {
				return fmt.Sprintf("%+v", svc.Spec)
			}
			return ""
		})
	}
	edit(t, "tulle", func(m *v1alpha1.Mesh) { m.Spec.Gateway.ExternalTrafficPolicy = "Cluster" })
	is(corev1.ServiceTypeLoadBalancer, corev1.ServiceExternalTrafficPolicyCluster)
	update(t, gw, func() { annotate(gw, map[string]string{"tulle.dev/external-traffic-policy": "Local"}) })
	is(corev1.ServiceTypeLoadBalancer, corev1.ServiceExternalTrafficPolicyLocal)
	for _, kind := range []corev1.ServiceType{corev1.ServiceTypeNodePort, corev1.ServiceTypeClusterIP, corev1.ServiceTypeLoadBalancer} {
		update(t, gw, func() {
			annotate(gw, map[string]string{"tulle.dev/external-traffic-policy": "Local", "tulle.dev/service-type": string(kind)})
		})
		is(kind, map[bool]corev1.ServiceExternalTrafficPolicy{true: "", false: "Local"}[kind == corev1.ServiceTypeClusterIP])
	}
	edit(t, "tulle", func(m *v1alpha1.Mesh) { m.Spec.Gateway.ExternalTrafficPolicy = "" })

	// An address that is asked for and not given: the advice is about the address.
	update(t, gw, func() { annotate(gw, nil); gw.Spec.Addresses = []gwapiv1.GatewaySpecAddress{{Value: "192.0.2.7"}} })
	serve(t, "gw-service", "edge-tulle", 1)
	deployed(t, gw, metav1.ConditionFalse, v1alpha1.ReasonAddressPending)
	says(t, gw, "192.0.2.7", "remove the value to get any")
}

// gatewayLeaves hands a Gateway and its ListenerSet to another class, for good and by the class's controller.
func gatewayLeaves(t *testing.T) {
	namespace(t, "gw-leaves", nil)
	class := &gwapiv1.GatewayClass{ObjectMeta: metav1.ObjectMeta{Name: "second"}, Spec: gwapiv1.GatewayClassSpec{ControllerName: names.ControllerName}}
	if err := admin.Create(t.Context(), class); err != nil {
		t.Fatal(err)
	}
	gw := newGateway(t, "gw-leaves", "edge", nil)
	set := &gwapiv1.ListenerSet{ObjectMeta: metav1.ObjectMeta{Namespace: "gw-leaves", Name: "more"}, Spec: gwapiv1.ListenerSetSpec{
		ParentRef: gwapiv1.ParentGatewayReference{Name: "edge"}, Listeners: []gwapiv1.ListenerEntry{{Name: "more", Port: 81, Protocol: "HTTP"}},
	}}
	if err := admin.Create(t.Context(), set); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background() // the test's own has ended
		_ = admin.Delete(ctx, set)
		_ = admin.Delete(ctx, class)
	})
	good := func(kind string, generation int64) metav1.Condition {
		return metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: "Good", ObservedGeneration: generation, LastTransitionTime: metav1.Now()}
	}
	// judge writes what the control plane writes, and a stranger's condition.
	judge := func() {
		t.Helper()
		eventually(t, "statuses are written", func() string {
			there(t, gw)
			there(t, set)
			for _, c := range []string{"Accepted", "Programmed", "ResolvedRefs"} {
				meta.SetStatusCondition(&gw.Status.Conditions, good(c, gw.Generation))
			}
			gw.Status.Addresses = []gwapiv1.GatewayStatusAddress{{Value: "192.0.2.1"}}
			gw.Status.AttachedListenerSets = ptr(int32(1))
			gw.Status.Listeners = []gwapiv1.ListenerStatus{{Name: "http", AttachedRoutes: 3, SupportedKinds: []gwapiv1.RouteGroupKind{}, Conditions: []metav1.Condition{good("Accepted", gw.Generation)}}}
			set.Status.Conditions = []metav1.Condition{good("Accepted", set.Generation)}
			set.Status.Listeners = []gwapiv1.ListenerEntryStatus{{Name: "more", SupportedKinds: []gwapiv1.RouteGroupKind{}, Conditions: []metav1.Condition{good("Accepted", set.Generation)}}}
			for _, o := range []client.Object{gw, set} {
				if err := admin.Status().Update(t.Context(), o, client.FieldOwner(names.FieldManager)); err != nil {
					return err.Error()
				}
			}
			meta.SetStatusCondition(&gw.Status.Conditions, good("example.com/Seen", 1))
			if err := admin.Status().Update(t.Context(), gw, client.FieldOwner("watcher")); err != nil {
				return err.Error()
			}
			return ""
		})
	}
	left := func(by string) {
		t.Helper()
		for _, o := range madeFor("gw-leaves", "edge-tulle") {
			gone(t, o)
		}
		eventually(t, by, func() string {
			there(t, gw)
			there(t, set)
			if len(gw.Status.Conditions) != 1 || gw.Status.Conditions[0].Type != "example.com/Seen" || len(gw.Status.Addresses)+len(gw.Status.Listeners) > 0 || gw.Status.AttachedListenerSets != nil {
				return fmt.Sprintf("%+v", gw.Status)
			}
			if len(set.Status.Listeners) > 0 || meta.IsStatusConditionTrue(set.Status.Conditions, "Accepted") {
				return fmt.Sprintf("%+v", set.Status)
			}
			return ""
		})
	}
	deployed(t, gw, metav1.ConditionFalse, v1alpha1.ReasonProxyNotReady)
	judge()
	update(t, gw, func() { gw.Spec.GatewayClassName = "other" })
	left("by its class")
	update(t, gw, func() { gw.Spec.GatewayClassName = "second" })
	deployed(t, gw, metav1.ConditionFalse, v1alpha1.ReasonProxyNotReady)
	judge()
	if err := admin.Delete(t.Context(), class); err != nil {
		t.Fatal(err)
	}
	left("by the end of its class")
}

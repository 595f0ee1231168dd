// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package loadbalancer

import (
	"context"
	"fmt"
	"log"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

// Run gives Services addresses from the pool until ctx ends.
func Run(ctx context.Context, kubeconfig string, pool netip.Prefix) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return fmt.Errorf("read kubeconfig: %w", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	services := factory.Core().V1().Services()
	// One pending wake-up is enough: a pass looks at all Services.
	wake := make(chan struct{}, 1)
	poke := func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
	if _, err := services.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { poke() },
		UpdateFunc: func(any, any) { poke() },
		DeleteFunc: func(any) { poke() },
	}); err != nil {
		return fmt.Errorf("watch Services: %w", err)
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	told := map[string]string{} // key -> problem last logged
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-wake:
		}
		if err := pass(ctx, client, services.Lister(), pool, told); err != nil {
			log.Print(err)
			// A conflict or a lost API server: what is true is decided anew.
			time.AfterFunc(time.Second, poke)
		}
	}
}

func pass(ctx context.Context, client kubernetes.Interface, lister listers.ServiceLister, pool netip.Prefix, told map[string]string) error {
	all, err := lister.List(labels.Everything())
	if err != nil {
		return fmt.Errorf("list Services: %w", err)
	}
	byKey := map[string]*corev1.Service{}
	var seen []Service
	for _, s := range all {
		v := view(s)
		// Services of other types have a status of their own only if they
		// were of this type before; one of a foreign class is not ours.
		if v.Wants || len(v.Current) > 0 && s.Spec.LoadBalancerClass == nil {
			byKey[v.Key] = s
			seen = append(seen, v)
		}
	}
	for _, d := range Assign(pool, seen) {
		if d.Problem != "" && d.Problem != told[d.Key] {
			log.Printf("Service %s gets no address: %s", d.Key, d.Problem)
		}
		told[d.Key] = d.Problem
		if d.Problem != "" && len(view(byKey[d.Key]).Current) == 0 {
			continue
		}
		s := byKey[d.Key].DeepCopy()
		s.Status.LoadBalancer.Ingress = nil
		if d.Address != "" {
			s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: d.Address}}
		}
		if _, err := client.CoreV1().Services(s.Namespace).UpdateStatus(ctx, s, metav1.UpdateOptions{FieldManager: "loadbalancer"}); err != nil {
			return fmt.Errorf("write status of Service %s: %w", d.Key, err)
		}
		log.Printf("Service %s has address %q", d.Key, d.Address)
	}
	return nil
}

func view(s *corev1.Service) Service {
	v := Service{
		Key:       s.Namespace + "/" + s.Name,
		Wants:     s.Spec.Type == corev1.ServiceTypeLoadBalancer && s.Spec.LoadBalancerClass == nil && s.DeletionTimestamp == nil,
		Requested: s.Spec.LoadBalancerIP,
	}
	for _, i := range s.Status.LoadBalancer.Ingress {
		v.Current = append(v.Current, i.IP)
	}
	return v
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/controlplane/ca"
	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/inject"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/pipeline"
	"tulle.dev/tulle/internal/controlplane/source"
	"tulle.dev/tulle/internal/controlplane/status"
	"tulle.dev/tulle/internal/controlplane/xds"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// Options of a replica. All but the directories are required; those default to the mounts that the
// operator gives the control plane's pods.
type Options struct {
	Config *rest.Config
	// Mesh is the name of the Mesh this control plane works for.
	Mesh string
	// Version is the release, Revision its form in names, ProxyImage the image that injection puts into pods.
	Version, Revision, ProxyImage string
	SystemNamespace               string
	// Pod and PodIP are this replica's own.
	Pod, PodIP string
	// IntermediateDir and TrustDir hold what cert-manager issued and the active roots.
	IntermediateDir, TrustDir string
	Log                       logr.Logger
}

// streamAge is how long an ADS stream lives, more or less by half: replicas that come and go even out.
const streamAge = time.Hour

// Run serves until the context ends or a part fails.
func Run(ctx context.Context, opts Options) error {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, gwapiv1.Install, corev1.AddToScheme} {
		if err := add(scheme); err != nil {
			return fmt.Errorf("build scheme: %w", err)
		}
	}
	api, err := client.New(opts.Config, client.Options{Scheme: scheme})
	if err != nil {
		return fmt.Errorf("make API client: %w", err)
	}
	kube, err := kubernetes.NewForConfig(opts.Config)
	if err != nil {
		return fmt.Errorf("make API client: %w", err)
	}
	mesh := &v1alpha1.Mesh{}
	if err := api.Get(ctx, client.ObjectKey{Name: opts.Mesh}, mesh); err != nil {
		return fmt.Errorf("read Mesh %s: %w", opts.Mesh, err)
	}
	r := &replica{opts: opts, api: api, kube: kube, metrics: prometheus.NewRegistry(), trust: mesh.Spec.TrustDomain}
	return r.run(ctx)
}

// replica is a running control plane; fields are set once, before anything is served.
type replica struct {
	opts    Options
	api     client.Client
	kube    kubernetes.Interface
	metrics *prometheus.Registry
	trust   string

	authority *ca.Authority
	feed      *feed
	server    *xds.Server
	source    *source.Source
	usage     usage
}

func (r *replica) run(ctx context.Context) error {
	caMetrics, err := ca.NewMetrics(r.metrics)
	if err != nil {
		return err
	}
	if err := r.build(caMetrics); err != nil {
		return err
	}
	signer, err := r.signer(caMetrics)
	if err != nil {
		return err
	}
	webhook, err := r.webhook()
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.authority.Run(ctx) })
	g.Go(func() error { return r.monitor(ctx) })
	g.Go(func() error { return r.usage.run(ctx) })
	g.Go(func() error { return r.rebalance(ctx) })
	g.Go(func() error { return r.follow(ctx) })
	g.Go(func() error { return r.afterSync(ctx, func() error { return r.ads(ctx) }) })
	g.Go(func() error {
		return r.afterSync(ctx, func() error {
			mux := http.NewServeMux()
			mux.Handle(protocol.SignPath, signer)
			return r.https(ctx, names.PortSign, mux)
		})
	})
	g.Go(func() error {
		return r.afterSync(ctx, func() error {
			mux := http.NewServeMux()
			mux.Handle(names.InjectPath, webhook)
			return r.https(ctx, names.PortWebhook, mux)
		})
	})
	g.Go(func() error {
		return r.afterSync(ctx, func() error {
			e := elector{leases: r.kube.CoordinationV1(), namespace: r.opts.SystemNamespace, identity: r.opts.Pod, log: r.opts.Log, f: r.writeStatus}
			return campaign(ctx, r.feed.serving, e.elect)
		})
	})
	return g.Wait()
}

func (r *replica) build(m *ca.Metrics) error {
	host := names.ControlPlaneService + "." + r.opts.SystemNamespace
	authority, err := ca.NewAuthority(ca.AuthorityOptions{
		Dir: r.opts.IntermediateDir, TrustFile: filepath.Join(r.opts.TrustDir, names.TrustKey), TrustDomain: r.trust,
		DNSNames: []string{host + ".svc", host, host + ".svc.cluster.local"}, Log: r.opts.Log.WithName("ca"), Metrics: m,
		Skew: r.skew,
	})
	if err != nil {
		return err
	}
	r.authority = authority
	store := xds.NewStore(resourceTypes()...)
	r.feed = &feed{
		store: store, mesh: r.opts.Mesh, version: r.opts.Version, trust: r.trust,
		graph: pipeline.New(func(f incr.Failure) {
			r.opts.Log.Info("Translation failed, the last good result is kept", "collection", f.Collection, "key", f.Key, "problem", f.Problem, "stack", f.Stack)
		}),
		writer: status.NewWriter(r.api, r.opts.Log.WithName("status")),
		system: r.opts.SystemNamespace, self: r.opts.PodIP,
		synced: make(chan struct{}), moved: make(chan struct{}),
		workloads: map[model.Key]model.Workload{}, peers: peers{}, asked: newAsked(), log: r.opts.Log,
	}
	options := r.feed.serverOptions()
	options.Logger, options.Metrics = r.opts.Log.WithName("xds"), r.metrics
	r.server, err = xds.NewServer(store, options)
	if err != nil {
		return err
	}
	if err := r.countPlaintext(); err != nil {
		return err
	}
	r.feed.relocate = r.server.Relocate
	r.feed.ledger = status.NewLedger(r.server, r.opts.Version)
	r.source, err = source.New(r.opts.Config, source.Options{SystemNamespace: r.opts.SystemNamespace, Mesh: r.opts.Mesh, Log: r.opts.Log.WithName("source")})
	return err
}

// defaultSkew is that of spec.certificates.maxClockSkew.
const defaultSkew = 5 * time.Minute

// skew is how far clocks may be apart.
func (r *replica) skew() time.Duration {
	if r.feed == nil {
		return defaultSkew // the authority looks once before anything else is there
	}
	if mesh := r.feed.meshNow(); mesh != nil && mesh.Spec.Certificates.MaxClockSkew != nil {
		return mesh.Spec.Certificates.MaxClockSkew.Duration
	}
	return defaultSkew
}

func (r *replica) signer(m *ca.Metrics) (http.Handler, error) {
	return ca.NewSigner(ca.SignerOptions{
		Authority: r.authority, Tokens: ca.NewTokenReviews(r.kube.AuthenticationV1().TokenReviews()), TrustDomain: r.trust,
		Pod: r.feed.workload, Log: r.opts.Log.WithName("ca"), Metrics: m,
		Lifetime: func() time.Duration {
			if mesh := r.feed.meshNow(); mesh != nil {
				return mesh.Spec.Certificates.WorkloadLifetime.Duration
			}
			return 0
		},
	})
}

// resizable asks whether the API server lets the requests of running pods change. It is asked once: a
// replica that is older than the answer goes on with halves, which work anywhere.
func (r *replica) resizable() (bool, error) {
	core, err := r.kube.Discovery().ServerResourcesForGroupVersion(corev1.SchemeGroupVersion.String())
	if err != nil {
		return false, fmt.Errorf("ask what the API server serves: %w", err)
	}
	return slices.ContainsFunc(core.APIResources, func(k metav1.APIResource) bool { return k.Name == "pods/resize" }), nil
}

func (r *replica) webhook() (http.Handler, error) {
	resizable, err := r.resizable()
	if err != nil {
		return nil, err
	}
	return inject.NewHandler(inject.HandlerOptions{
		Log: r.opts.Log.WithName("inject"), Metrics: r.metrics,
		Settings: func() (inject.Settings, bool) {
			mesh := r.feed.meshNow()
			if mesh == nil {
				return inject.Settings{}, false
			}
			s, err := inject.SettingsFrom(mesh, r.opts.ProxyImage, r.opts.Version, r.opts.Revision, r.opts.SystemNamespace)
			if err != nil {
				r.opts.Log.Error(err, "Reading the Mesh's injection settings")
			}
			s.Resizable = resizable
			return s, err == nil
		},
		Namespace: func(ctx context.Context, name string) (inject.NamespaceFacts, error) {
			ns := &corev1.Namespace{}
			if err := r.api.Get(ctx, client.ObjectKey{Name: name}, ns); err != nil {
				return inject.NamespaceFacts{}, fmt.Errorf("read namespace %s: %w", name, err)
			}
			return inject.NamespaceFacts{Name: name, Labels: ns.Labels, Bounds: r.bounds(ctx, name)}, nil
		},
	})
}

// bounds reads what a namespace allows its containers. What can't be read is left to the API server,
// which refuses the pod if it has to.
func (r *replica) bounds(ctx context.Context, namespace string) inject.Bounds {
	var ranges corev1.LimitRangeList
	var quotas corev1.ResourceQuotaList
	for _, l := range []client.ObjectList{&ranges, &quotas} {
		if err := r.api.List(ctx, l, client.InNamespace(namespace)); err != nil {
			r.opts.Log.Error(err, "Reading what a namespace allows its containers", "namespace", namespace)
		}
	}
	return inject.Bounds{Ranges: ranges.Items, Quotas: quotas.Items}
}

// afterSync runs f once everything that exists has been taken in and there is a certificate to serve with.
func (r *replica) afterSync(ctx context.Context, f func() error) error {
	if !r.feed.serve(ctx) {
		return nil
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for r.authority.Ready() != nil {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
	return f()
}

func (r *replica) ads(ctx context.Context) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", ":"+strconv.Itoa(names.PortADS))
	if err != nil {
		return fmt.Errorf("listen for proxies: %w", err)
	}
	return r.server.Serve(ctx, l, grpc.Creds(credentials.NewTLS(r.authority.ServerTLS())))
}

func (r *replica) https(ctx context.Context, port int, h http.Handler) error {
	s := ca.NewServer(":"+strconv.Itoa(port), h, r.authority.PublicTLS())
	// The API server would keep its connection to a replica that the Service no longer leads to, and pods
	// would be injected by the former release for as long as it does.
	s.SetKeepAlivesEnabled(false)
	stop := context.AfterFunc(ctx, func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = s.Shutdown(end) // what is left after five seconds is cut
	})
	defer stop()
	if err := s.ListenAndServeTLS("", ""); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serve port %d: %w", port, err)
	}
	return nil
}

func (r *replica) writeStatus(ctx context.Context) {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		status.Collector{
			Own: r.feed.ledger, Writer: r.feed.writer, Self: r.opts.PodIP, Replicas: r.feed.replicas, Log: r.opts.Log.WithName("status"),
		}.Run(ctx)
		return nil
	})
	g.Go(func() error { r.feed.writer.Run(ctx); return nil })
	_ = g.Wait() // neither returns an error
}

// follow takes the cluster's events and the roots through the graph, one batch after the other.
func (r *replica) follow(ctx context.Context) error {
	batches := make(chan []source.Event)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return r.source.Run(ctx, func(b []source.Event) {
			select {
			case batches <- b:
			case <-ctx.Done():
			}
		})
	})
	g.Go(func() error { return r.feed.run(ctx, batches, r.authority.Roots, r.server) })
	return g.Wait()
}

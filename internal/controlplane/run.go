// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
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
	"tulle.dev/tulle/internal/controlplane/referenced"
	"tulle.dev/tulle/internal/controlplane/source"
	"tulle.dev/tulle/internal/controlplane/status"
	"tulle.dev/tulle/internal/controlplane/xds"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/pages"
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
	// InternalToken is the file with the token by which this replica asks the others.
	InternalToken string
	// Amend, if it is set, changes the resources that a change of the cluster results in before proxies see
	// them. It is called by one goroutine, and must not change its argument. Programs that wrap the control
	// plane set it; the product does not.
	Amend func([]xds.Change) []xds.Change
	Log   logr.Logger
}

// OptionsFrom returns the options that a control plane's pod determines: its own identity, which get (os.Getenv)
// reads, and the directories where the operator mounts its files.
func OptionsFrom(get func(string) string) Options {
	return Options{
		Pod: get(names.EnvControlPlanePod), PodIP: get(names.EnvControlPlaneIP),
		IntermediateDir: names.IntermediateDir, TrustDir: names.TrustDir,
		InternalToken: filepath.Join(names.InternalTokenDir, names.InternalToken),
	}
}

// AddFlags adds the flags with which the operator starts a control plane. All but --system-namespace are required.
func (o *Options) AddFlags(f *flag.FlagSet) {
	f.StringVar(&o.Mesh, "mesh", "", "name of the Mesh to work for")
	f.StringVar(&o.Version, "version", "", "release of this control plane")
	f.StringVar(&o.Revision, "revision", "", "the release as it appears in names")
	f.StringVar(&o.ProxyImage, "proxy-image", "", "image that injection puts into pods")
	f.StringVar(&o.SystemNamespace, "system-namespace", names.SystemNamespace, "namespace of the control plane")
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
	forReviews, tokens, err := strangersClients(opts.Config, scheme)
	if err != nil {
		return err
	}
	r := &replica{opts: opts, api: api, kube: kube, tokens: tokens, metrics: prometheus.NewRegistry(), trust: mesh.Spec.TrustDomain}
	r.closed = newClosed(r.metrics)
	r.namespaces = newNamespaces(func(name string) (map[string]string, bool) { return r.feed.namespace(name) }, forReviews, opts.Log.WithName("inject"))
	if err := r.run(ctx); err != nil && (ctx.Err() == nil || !errors.Is(err, context.Canceled)) {
		return err
	}
	return nil // it was told to end
}

// strangersClients returns clients for what strangers can make the control plane ask: of namespaces, by
// reviews, and of tokens, by certificate requests. Each has a rate limit of its own, so that no flood of these delays
// status and leases.
func strangersClients(config *rest.Config, scheme *runtime.Scheme) (client.Reader, kubernetes.Interface, error) {
	own := rest.CopyConfig(config)
	own.QPS, own.Burst, own.RateLimiter = 50, 100, nil
	own.Wrap(pages.Transport)
	reviews, err := client.New(own, client.Options{Scheme: scheme})
	if err != nil {
		return nil, nil, fmt.Errorf("make API client for reviews: %w", err)
	}
	own = rest.CopyConfig(config)
	own.RateLimiter = nil
	tokens, err := kubernetes.NewForConfig(own)
	if err != nil {
		return nil, nil, fmt.Errorf("make API client for tokens: %w", err)
	}
	return boundsReader{reviews}, tokens, nil
}

// replica is a running control plane; fields are set once, before anything is served.
type replica struct {
	opts    Options
	api     client.Client
	kube    kubernetes.Interface
	tokens  kubernetes.Interface // for TokenReviews
	metrics *prometheus.Registry
	closed  *prometheus.CounterVec // connections, see newClosed
	trust   string

	authority *ca.Authority
	feed      *feed
	server    *xds.Server
	source    *source.Source
	usage     usage
	// namespaces are what the webhook knows of namespaces.
	namespaces *namespaces
	// referenced reads the Secrets and ConfigMaps that Gateways and policies refer to.
	referenced *referenced.Stage
	told       keptTranslation
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
	g.Go(func() error { return r.internal(ctx) })
	g.Go(func() error { return r.usage.run(ctx) })
	g.Go(func() error { return r.rebalance(ctx) })
	g.Go(func() error { return r.follow(ctx) })
	g.Go(func() error { return r.afterSync(ctx, func() error { return r.ads(ctx) }) })
	g.Go(func() error {
		return r.afterSync(ctx, func() error {
			mux := http.NewServeMux()
			mux.Handle(protocol.SignPath, signer)
			return r.https(ctx, names.PortSign, portSign, signConnections(), mux)
		})
	})
	g.Go(func() error {
		return r.afterSync(ctx, func() error {
			mux := http.NewServeMux()
			mux.Handle(names.InjectPath, webhook)
			return r.https(ctx, names.PortWebhook, portWebhook, webhookConnections(), mux)
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
		Skew: r.skew, Distributed: r.distributed,
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
		system: r.opts.SystemNamespace, self: r.opts.PodIP, amend: r.opts.Amend,
		synced: make(chan struct{}), moved: make(chan struct{}),
		workloads: map[model.Key]model.Workload{}, namespaces: map[string][]model.Label{}, peers: peers{}, asked: newAsked(), log: r.opts.Log,
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
	r.feed.relocate, r.feed.recheck = r.server.Relocate, r.server.Recheck
	r.feed.ledger = status.NewLedger(r.server, r.opts.Version)
	r.referenced = referenced.New(r.opts.Log.WithName("referenced"))
	r.source, err = source.New(r.opts.Config, source.Options{
		SystemNamespace: r.opts.SystemNamespace, Mesh: r.opts.Mesh, Referenced: r.referenced.Referenced(), Log: r.opts.Log.WithName("source"),
	})
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

// distributed are the intermediates that the operator has seen at every proxy.
func (r *replica) distributed() []string {
	if r.feed == nil {
		return nil // as in skew
	}
	mesh := r.feed.meshNow()
	if mesh == nil {
		return nil
	}
	var out []string
	for _, s := range mesh.Status.Intermediates {
		if s.Distributed {
			out = append(out, s.SHA256)
		}
	}
	return out
}

func (r *replica) signer(m *ca.Metrics) (http.Handler, error) {
	return ca.NewSigner(ca.SignerOptions{
		Authority: r.authority, Tokens: ca.NewTokenReviews(r.tokens.AuthenticationV1().TokenReviews()), TrustDomain: r.trust,
		Pod: r.feed.workload, Log: r.opts.Log.WithName("ca"), Metrics: m,
		Lifetime: func() time.Duration {
			if mesh := r.feed.meshNow(); mesh != nil {
				return mesh.Spec.Certificates.WorkloadLifetime.Duration
			}
			return 0
		},
		AnyAddress: r.feed.anyAddress,
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
		Namespace: r.namespaces.facts, Fresh: r.namespaces.fresh,
	})
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

func (r *replica) writeStatus(ctx context.Context) {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		status.Collector{
			Own: r.feed.ledger, Writer: r.feed.writer, Self: r.opts.PodIP, Replicas: r.feed.replicas, Log: r.opts.Log.WithName("status"),
			TLS: r.authority.PeerTLS, Token: r.internalToken,
		}.Run(ctx)
		return nil
	})
	g.Go(func() error { r.feed.writer.Run(ctx); return nil })
	_ = g.Wait() // neither returns an error
}

// internalToken is this replica's token for the others, which the kubelet renews.
func (r *replica) internalToken() (string, error) {
	text, err := os.ReadFile(r.opts.InternalToken)
	if err != nil {
		return "", fmt.Errorf("read the token for other replicas: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// follow takes the cluster's events, with the Secrets and ConfigMaps that they refer to, and the roots through the
// graph, one batch after the other.
func (r *replica) follow(ctx context.Context) error {
	seen, complete := make(chan []source.Event), make(chan []source.Event)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.source.Run(ctx, sendTo(ctx, seen)) })
	g.Go(func() error {
		r.referenced.Run(ctx, seen, r.source.Read, sendTo(ctx, complete))
		return nil
	})
	g.Go(func() error { return r.feed.run(ctx, complete, r.authority.Trust, r.server) })
	return g.Wait()
}

func sendTo(ctx context.Context, to chan<- []source.Event) func([]source.Event) {
	return func(b []source.Event) {
		select {
		case to <- b:
		case <-ctx.Done():
		}
	}
}

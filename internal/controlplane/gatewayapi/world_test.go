// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi_test

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/policy"
	"tulle.dev/tulle/internal/controlplane/source"
	"tulle.dev/tulle/internal/gatewaykinds"
	"tulle.dev/tulle/internal/names"
)

// world is a cluster in memory. It answers a Lookup and records what it was asked.
type world struct {
	services   []model.Service
	namespaces []model.Namespace
	secrets    []source.TLS
	classes    []*gwapiv1.GatewayClass
	gateways   []*gwapiv1.Gateway
	sets       []*gwapiv1.ListenerSet
	routes     []*gatewayapi.Route
	grants     []*gwapiv1.ReferenceGrant
	bundles    []source.CABundle
	policies   []*policy.Policy

	ages  map[model.Object]time.Time // of routes, when they were created
	asked map[string]bool            // "Service shop/web"
}

// decoder reads one document into a pointer.
type decoder func([]byte, any) error

func strict(b []byte, into any) error { return yaml.UnmarshalStrict(b, into) }
func loose(b []byte, into any) error  { return yaml.Unmarshal(b, into) }

// readWorld reads the documents of a YAML stream.
func readWorld(in []byte, decode decoder) (*world, error) {
	w := &world{asked: map[string]bool{}}
	docs := utilyaml.NewYAMLReader(newLines(in))
	for {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return w, nil
		}
		if err != nil {
			return nil, err
		}
		if err := w.add(doc, decode); err != nil {
			return nil, err
		}
	}
}

func (w *world) add(doc []byte, decode decoder) error {
	var head struct {
		Kind string `json:"kind"`
	}
	if err := yaml.Unmarshal(doc, &head); err != nil {
		return err
	}
	switch head.Kind {
	case "Service":
		return one(doc, decode, func(s *corev1.Service) { w.services = append(w.services, source.ServiceFrom(s)) })
	case "Namespace":
		return one(doc, decode, func(n *corev1.Namespace) {
			w.namespaces = append(w.namespaces, source.NamespaceFrom(n, source.Selection{}))
		})
	case "Secret":
		return one(doc, decode, func(s *corev1.Secret) {
			if s.Data == nil {
				s.Data = map[string][]byte{}
			}
			for k, v := range s.StringData { // as the API server does
				s.Data[k] = []byte(v)
			}
			w.secrets = append(w.secrets, source.SecretFrom(s))
		})
	case "ConfigMap":
		return one(doc, decode, func(m *corev1.ConfigMap) {
			if b, ok := source.CABundleFrom(m); ok {
				w.bundles = append(w.bundles, b)
			}
		})
	case "ClusterTrustBundle":
		return one(doc, decode, func(b *certificatesv1.ClusterTrustBundle) {
			w.bundles = append(w.bundles, source.TrustBundleFrom(b))
		})
	case "GatewayClass":
		return one(doc, decode, func(c *gwapiv1.GatewayClass) { w.classes = append(w.classes, c) })
	case "Gateway":
		return one(doc, decode, func(g *gwapiv1.Gateway) { w.gateways = append(w.gateways, g) })
	case "ListenerSet":
		return one(doc, decode, func(s *gwapiv1.ListenerSet) { w.sets = append(w.sets, s) })
	case "ReferenceGrant":
		return one(doc, decode, func(g *gwapiv1.ReferenceGrant) { w.grants = append(w.grants, g) })
	}
	if k, ok := gatewaykinds.Find(head.Kind); ok {
		o := k.New()
		if err := decode(doc, o); err != nil {
			return fmt.Errorf("decode %T: %w", o, err)
		}
		w.addObject(o)
		return nil
	}
	return fmt.Errorf("kind %q is not one that routing reads", head.Kind)
}

// addObject parses an object of a kind of routes or policies.
func (w *world) addObject(o gatewaykinds.Object) {
	kind := reflect.TypeOf(o).Elem().Name()
	if k, ok := policy.KindOf(kind); ok {
		w.policies = append(w.policies, k.Parse(o))
		return
	}
	k, _ := gatewayapi.RouteKindOf(kind)
	r := k.Parse(o)
	if w.ages == nil {
		w.ages = map[model.Object]time.Time{}
	}
	w.ages[r.ID()] = o.GetCreationTimestamp().Time
	w.routes = append(w.routes, r)
}

// of are the routes of a kind; "": of all.
func (w *world) of(kind string) (out []*gatewayapi.Route) {
	for _, r := range w.routes {
		if kind == "" || r.ID().Kind == kind {
			out = append(out, r)
		}
	}
	return out
}

func one[T any](doc []byte, decode decoder, keep func(*T)) error {
	v := new(T)
	if err := decode(doc, v); err != nil {
		return fmt.Errorf("decode %T: %w", v, err)
	}
	keep(v)
	return nil
}

// shuffled is the same cluster with its lists in another order.
func (w *world) shuffled(seed uint64) *world {
	r := rand.New(rand.NewPCG(seed, 0))
	out := *w
	out.asked = map[string]bool{}
	out.gateways, out.routes, out.grants = mix(r, w.gateways), mix(r, w.routes), mix(r, w.grants)
	out.sets = mix(r, w.sets)
	out.policies = mix(r, w.policies)
	return &out
}

func mix[T any](r *rand.Rand, in []T) []T {
	out := slices.Clone(in)
	r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

func find[T any](list []T, is func(T) bool) (v T, ok bool) {
	if i := slices.IndexFunc(list, is); i >= 0 {
		return list[i], true
	}
	return v, false
}

func (w *world) Service(k model.Key) (model.Service, bool) {
	w.asked["Service "+k.String()] = true
	return find(w.services, func(s model.Service) bool { return s.Key == k })
}

func (w *world) Namespace(name string) (model.Namespace, bool) {
	w.asked["Namespace "+name] = true
	return find(w.namespaces, func(n model.Namespace) bool { return n.Name == name })
}

func (w *world) Fronted(service model.Key) bool {
	_, exists := w.Service(service)
	ns, known := w.Namespace(service.Namespace)
	return exists && (!known || ns.Meshed)
}

func (w *world) TLSSecret(k model.Key) (string, bool) {
	w.asked["Secret "+k.String()] = true
	s, ok := find(w.secrets, func(s source.TLS) bool { return s.Key == k })
	return s.Problem, ok
}

// today is when golden cases are judged.
func today() time.Time { return time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC) }

func (w *world) Ended(k model.Key) (string, bool) {
	w.asked["Secret "+k.String()] = true
	s, ok := find(w.secrets, func(s source.TLS) bool { return s.Key == k })
	return s.Ends.Format(time.DateOnly), ok && today().After(s.Ends)
}

func (w *world) IssuerEnded(k model.Key) (string, bool) {
	w.asked["Secret "+k.String()] = true
	s, ok := find(w.secrets, func(s source.TLS) bool { return s.Key == k })
	return s.IssuersEnd.Format(time.DateOnly), ok && !s.IssuersEnd.IsZero() && today().After(s.IssuersEnd)
}

func (w *world) CABundle(k model.Key) (string, bool) {
	w.asked["ConfigMap "+k.String()] = true
	b, ok := find(w.bundles, func(b source.CABundle) bool { return b.Key == k })
	return b.Problem, ok
}

func (w *world) Policies(on gatewayapi.OfKind[model.Object]) []*policy.Policy {
	w.asked[strings.Replace(on.Kind, "Policy", "Policies", 1)+" "+on.To.Namespace+"/"+on.To.Name] = true
	return slices.DeleteFunc(slices.Clone(w.policies), func(p *policy.Policy) bool { return !slices.Contains(p.Targets(), on) })
}

func (w *world) First(kind string, t policy.Target) *policy.Policy {
	return policy.ReadFirst(w, gatewayapi.OfKind[model.Object]{Kind: kind, To: t.Object})[t.Section]
}

func (w *world) SendingGateways(service model.Key) []model.Key {
	svc, _ := w.Service(service)
	return gatewayapi.SendingGateways(w, svc)
}

func (w *world) BackendTLS(service model.Key, port string) bool {
	return policy.HasBackendTLS(w, service, port)
}

func (w *world) Senders(to gatewayapi.OfKind[model.PortKey]) []*gatewayapi.Route {
	w.asked["Senders "+to.Kind+" "+to.To.String()] = true
	return slices.DeleteFunc(w.of(to.Kind), func(r *gatewayapi.Route) bool { return !slices.Contains(r.Backends(), to) })
}

func (w *world) SentTo(to gatewayapi.OfKind[model.PortKey]) bool { return gatewayapi.ReadSentTo(w, to) }

func (w *world) MeshRoutes(service model.Key) gatewayapi.MeshRoutes {
	return gatewayapi.ReadMeshRoutes(w, service)
}

func (w *world) MeshRivals(service model.Key, route model.Object) []gatewayapi.MeshRival {
	return w.MeshRoutes(service).Rivals()[route]
}

func (w *world) MeshSharing(service model.Key) map[uint16][]string {
	svc, _ := w.Service(service)
	return w.MeshRoutes(service).Sharing(svc)
}

func (w *world) MeshPart(r *gatewayapi.Route) *gatewayapi.MeshPart {
	return gatewayapi.ReadMeshPart(w, r)
}

func (w *world) Protocol(port model.PortKey) (model.Protocol, bool) {
	return gatewayapi.PortProtocol(w, port)
}

func (w *world) Granted(from gatewayapi.GrantFrom) gatewayapi.Granted {
	w.asked["Grants "+from.To] = true
	return gatewayapi.ReadGranted(slices.DeleteFunc(slices.Clone(w.grants), func(g *gwapiv1.ReferenceGrant) bool {
		return !slices.Contains(gatewayapi.GrantedFrom(g), from)
	}))
}

func (w *world) Gateway(k model.Key) (*gwapiv1.Gateway, bool) {
	w.asked["Gateway "+k.String()] = true
	return find(w.gateways, func(g *gwapiv1.Gateway) bool { return g.Namespace == k.Namespace && g.Name == k.Name })
}

func (w *world) ListenerSets(gateway model.Key) []*gwapiv1.ListenerSet {
	w.asked["ListenerSets "+gateway.String()] = true
	return slices.DeleteFunc(slices.Clone(w.sets), func(s *gwapiv1.ListenerSet) bool {
		of, ok := gatewayapi.ListenerSetGateway(s)
		return !ok || of != gateway
	})
}

func (w *world) Listeners(gateway model.Key) gatewayapi.Listeners {
	w.asked["Listeners "+gateway.String()] = true
	asked := w.asked
	w.asked = map[string]bool{} // others keep them
	defer func() { w.asked = asked }()
	return gatewayapi.ReadListeners(w, gateway)
}

func (w *world) Served(gateway model.Key) gatewayapi.Served {
	w.asked["Served "+gateway.String()] = true
	asked := w.asked
	w.asked = map[string]bool{} // others keep them
	defer func() { w.asked = asked }()
	return gatewayapi.ReadServed(w, gateway)
}

func (w *world) ListenerSet(k model.Key) (*gwapiv1.ListenerSet, bool) {
	w.asked["ListenerSet "+k.String()] = true
	return find(w.sets, func(s *gwapiv1.ListenerSet) bool { return s.Namespace == k.Namespace && s.Name == k.Name })
}

func (w *world) OurClass(name string) bool {
	w.asked["Class "+name] = true
	c, ok := find(w.classes, func(c *gwapiv1.GatewayClass) bool { return c.Name == name })
	return ok && c.Spec.ControllerName == names.ControllerName
}

func (w *world) ExcessRoutes(service model.Key) map[model.Object]bool {
	w.asked["ExcessRoutes "+service.String()] = true
	asked := w.asked
	w.asked = map[string]bool{} // others keep them
	defer func() { w.asked = asked }()
	return gatewayapi.ReadExcessRoutes(w, service)
}

func (w *world) ExcessExpressions(gateway model.Key, route model.Object) bool {
	w.asked["ExcessExpressions "+gateway.String()+" "+route.Namespace+"/"+route.Name] = true
	asked := w.asked
	w.asked = map[string]bool{} // others keep them
	defer func() { w.asked = asked }()
	var all []gatewayapi.Expressions
	for _, r := range w.routes {
		for _, x := range gatewayapi.ReadExpressions(w, r) {
			if x.Gateway == gateway && r.ID().Namespace == route.Namespace {
				all = append(all, x)
			}
		}
	}
	return slices.Contains(gatewayapi.ReadExcessExpressions(all), route)
}

func (w *world) Routes(on gatewayapi.OfKind[model.Object]) []*gatewayapi.Route {
	w.asked[cmp.Or(on.Kind, "Route")+"s "+on.To.Kind+" "+on.To.Namespace+"/"+on.To.Name] = true
	return slices.DeleteFunc(w.of(on.Kind), func(r *gatewayapi.Route) bool { return !slices.Contains(r.Parents(), on) })
}

func (w *world) Candidates(on gatewayapi.OfKind[model.Object]) (out []*gatewayapi.Candidate) {
	w.asked[on.Kind+"s "+on.To.Kind+" "+on.To.Namespace+"/"+on.To.Name] = true
	for _, r := range w.of(on.Kind) {
		if c, ok := r.Candidate(); ok && slices.Contains(c.Parents(), on) {
			out = append(out, c)
		}
	}
	return out
}

func (w *world) Precedence(parent, route model.Object) gatewayapi.Precedence {
	w.asked["Precedence "+parent.Kind+" "+parent.Namespace+"/"+parent.Name+" "+route.Namespace+"/"+route.Name] = true
	return w.precedence(parent)[route]
}

func (w *world) precedence(parent model.Object) map[model.Object]gatewayapi.Precedence {
	asked := w.asked
	w.asked = map[string]bool{} // others keep them
	defer func() { w.asked = asked }()
	return gatewayapi.ReadPrecedence(w, parent)
}

func (w *world) Takers(on gatewayapi.On) (out []gatewayapi.Taker) {
	w.asked[fmt.Sprint("Takers ", on.Gateway, " ", on.Listener)] = true
	parents := []model.Object{}
	for _, g := range w.gateways {
		parents = append(parents, model.Object{Kind: gatewayapi.KindGateway, Namespace: g.Namespace, Name: g.Name})
	}
	for _, s := range w.sets {
		parents = append(parents, model.Object{Kind: gatewayapi.KindListenerSet, Namespace: s.Namespace, Name: s.Name})
	}
	for _, p := range parents {
		all := w.precedence(p)
		for _, r := range w.routes {
			if s := all[r.ID()]; slices.Contains(s.Taking(), on) {
				out = append(out, gatewayapi.Taker{Route: r, Precedence: s})
			}
		}
	}
	return out
}

var _ policy.Lookup = (*world)(nil)

// frontend is what golden files show of a Service port.
type frontend struct {
	Port     string
	Protocol model.Protocol
	Consumer string
	Table    *model.RouteTable
	Streams  *model.StreamTable
}

type gatewayPort struct {
	model.GatewayPort
	Tables []model.RouteTable
	// Streams are those of the sections of bytes, in their order.
	Streams []model.StreamTable
}

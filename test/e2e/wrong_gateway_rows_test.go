// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"cmp"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// wrongRoute is a route with a mistake in it.
type wrongRoute struct {
	name   string
	kind   string // empty: HTTPRoute
	parent string // empty: the listener http of Gateway edge
	rule   string // rules in YAML flow style; empty: one that is right
	answer int    // to requests for its host at the listener http; 0: see elsewhere
	complaint
}

func (r wrongRoute) kindOr() string { return cmp.Or(r.kind, "HTTPRoute") }

// host is the same for a route and for one whose name has "-2" more.
func (r wrongRoute) host() string { return strings.TrimSuffix(r.name, "-2") + ".example" }

func (r wrongRoute) yaml(ns string) string {
	hosts := "hostnames: [" + r.host() + "], "
	if r.kind == "TCPRoute" {
		hosts = ""
	}
	return fmt.Sprintf(`
---
apiVersion: gateway.networking.k8s.io/v1
kind: %s
metadata: {name: %s, namespace: %s}
spec: {parentRefs: [%s], %srules: [%s]}
`, r.kindOr(), r.name, ns, cmp.Or(r.parent, "{name: edge, sectionName: http}"), hosts, cmp.Or(r.rule, "{"+right+"}"))
}

// right sends to a backend that there is.
const right = "backendRefs: [{name: server, port: 80}]"

// wrongRoutes are the routes, older ones first.
func wrongRoutes() []wrongRoute {
	no := func(condition, reason string, says ...string) complaint {
		return complaint{where: "parents[0]", condition: condition, status: metav1.ConditionFalse, reason: reason, says: says}
	}
	value := func(kind, v string) string {
		return fmt.Sprintf("{matches: [{headers: [{name: X, type: %s, value: '%s'}]}], %s}", kind, v, right)
	}
	partly := no("PartiallyInvalid", "UnsupportedValue", "Dropped Rule", "spec.rules[1].sessionPersistence")
	partly.status = metav1.ConditionTrue
	ok := complaint{where: "parents[0]", condition: "Accepted", status: metav1.ConditionTrue, reason: "Accepted"}
	return []wrongRoute{
		{name: "unsupported", rule: "{sessionPersistence: {type: Cookie, cookie: {name: s}}, " + right + "}", answer: 404, complaint: no("Accepted", "UnsupportedValue", "spec.rules[0].sessionPersistence", "not supported")},
		{name: "regex", rule: value("RegularExpression", "(a+"), answer: 404, complaint: no("Accepted", "UnsupportedValue", "spec.rules[0].matches[0].headers[0].value", "missing closing )")},
		{name: "regex-large", rule: value("RegularExpression", "(?:[a-y][b-z]){999}"), answer: 404, complaint: no("Accepted", "UnsupportedValue", "spec.rules[0].matches[0].headers[0].value", "too large", "shorter")},
		{name: "regex-class", rule: value("RegularExpression", `\p{Letter}+`), answer: 404, complaint: no("Accepted", "UnsupportedValue", "spec.rules[0].matches[0].headers[0].value", `\p{Letter} is no class of RE2`)},
		{
			name: "exclusive", answer: 404, complaint: no("Accepted", "IncompatibleFilters", "spec.rules[0].filters", "RequestRedirect and CORS"),
			rule: "{filters: [{type: RequestRedirect, requestRedirect: {scheme: https}}, {type: CORS, cors: {allowOrigins: ['https://a.example']}}]}",
		},
		{name: "partly", rule: "{matches: [{path: {value: /good}}], " + right + "}, {matches: [{path: {value: /bad}}], sessionPersistence: {type: Cookie, cookie: {name: s}}, " + right + "}", complaint: partly},
		{name: "kind", rule: "{backendRefs: [{group: apps, kind: Deployment, name: server, port: 80}]}", answer: 500, complaint: no("ResolvedRefs", "InvalidKind", "spec.rules[0].backendRefs[0]", "apps/Deployment", "only Service")},
		{name: "not-granted", rule: "{backendRefs: [{name: kube-dns, namespace: kube-system, port: 53}]}", answer: 500, complaint: no("ResolvedRefs", "RefNotPermitted", "spec.rules[0].backendRefs[0]", "no ReferenceGrant in namespace kube-system")},
		{name: "no-service", rule: "{backendRefs: [{name: nowhere, port: 80}]}", answer: 500, complaint: no("ResolvedRefs", "BackendNotFound", "spec.rules[0].backendRefs[0]", "/nowhere does not exist")},
		{name: "no-port", rule: "{backendRefs: [{name: server, port: 81}]}", answer: 500, complaint: no("ResolvedRefs", "BackendNotFound", "spec.rules[0].backendRefs[0]", "has no port 81; it has 80 (http)")},
		{name: "no-mirror", rule: "{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: nowhere, port: 80}}}], " + right + "}", answer: 200, complaint: no("ResolvedRefs", "BackendNotFound", "spec.rules[0].filters[0].requestMirror.backendRef", "/nowhere does not exist")},
		{name: "bytes", rule: "{backendRefs: [{name: server, port: 7000}]}", answer: 500, complaint: no("ResolvedRefs", "UnsupportedProtocol", "spec.rules[0].backendRefs[0]", "port 7000", "set appProtocol: http")},
		{name: "no-listener", parent: "{name: edge, sectionName: nosuch}", answer: 404, complaint: no("Accepted", "NoMatchingParent", "no such listener; it has http (80)")},
		{name: "no-listener-port", parent: "{name: edge, port: 81}", answer: 404, complaint: no("Accepted", "NoMatchingParent", "no such listener; it has http (80)")},
		{name: "no-group", parent: "{kind: Service, name: server}", complaint: no("Accepted", "NoMatchingParent", `write group: ""`)},
		{name: "no-parent", parent: `{group: "", kind: Service, name: nowhere}`, complaint: no("Accepted", "NoMatchingParent", "/nowhere does not exist")},
		{name: "not-allowed", parent: "{name: edge, sectionName: closed}", answer: 404, complaint: no("Accepted", "NotAllowedByListeners", "see its allowedRoutes")},
		{name: "other-kind", kind: "TCPRoute", rule: "{backendRefs: [{name: server, port: 7000}]}", complaint: no("Accepted", "NotAllowedByListeners", "routes of kind TCPRoute")},
		{name: "other-name", parent: "{name: edge, sectionName: named}", answer: 404, complaint: no("Accepted", "NoMatchingListenerHostname", "hostname")},
		{name: "conflict", kind: "GRPCRoute", complaint: ok}, // a route says what its port speaks
		{name: "conflict-2", answer: 404, complaint: no("Accepted", "Conflicted", "/conflict decides")},
		// These are right, however they look.
		{name: "steep", rule: value("RegularExpression", "(a+)+$"), complaint: ok},
		{name: "long", rule: value("Exact", strings.Repeat("v", longest)), complaint: ok},
	}
}

// longest is how long the API lets the value of a match be.
const longest = 4096

// wrongListeners are the listeners of Gateway edge beside the one that serves plain HTTP.
const wrongListeners = `
  - {name: good, port: 443, protocol: HTTPS, hostname: good.example, tls: {certificateRefs: [{name: good}]}}
  - {name: missing, port: 443, protocol: HTTPS, hostname: missing.example, tls: {certificateRefs: [{name: nobody}]}}
  - {name: malformed, port: 443, protocol: HTTPS, hostname: malformed.example, tls: {certificateRefs: [{name: malformed}]}}
  - {name: unlike, port: 443, protocol: HTTPS, hostname: unlike.example, tls: {certificateRefs: [{name: unlike}]}}
  - {name: weak, port: 443, protocol: HTTPS, hostname: weak.example, tls: {certificateRefs: [{name: weak}]}}
  - {name: expired, port: 443, protocol: HTTPS, hostname: expired.example, tls: {certificateRefs: [{name: expired}]}}
  - {name: stolen, port: 443, protocol: HTTPS, hostname: stolen.example, tls: {certificateRefs: [{name: tulle-intermediate, namespace: tulle-system}]}}
  - {name: kind, port: 443, protocol: HTTPS, hostname: kind.example, tls: {certificateRefs: [{kind: ConfigMap, name: good}]}}
  - {name: options, port: 443, protocol: HTTPS, hostname: options.example, tls: {certificateRefs: [{name: good}], options: {example.org/a: b}}}
  - {name: wide, port: 443, protocol: HTTPS, hostname: "*.over.example", tls: {certificateRefs: [{name: good}]}}
  - {name: narrow, port: 443, protocol: HTTPS, hostname: a.over.example, tls: {certificateRefs: [{name: good}]}}
  - {name: authority, port: 8443, protocol: HTTPS, tls: {certificateRefs: [{name: good}]}}
  - {name: authority-kind, port: 8444, protocol: HTTPS, tls: {certificateRefs: [{name: good}]}}
  - {name: foreign, port: 8001, protocol: example.org/foreign}
  - {name: own, port: 15006, protocol: HTTP}
  - {name: one, port: 8002, protocol: HTTP}
  - {name: two, port: 8002, protocol: TCP}
  - {name: kinds, port: 8003, protocol: HTTP, allowedRoutes: {kinds: [{kind: TCPRoute}]}}
  - {name: closed, port: 8004, protocol: HTTP, allowedRoutes: {namespaces: {from: Selector, selector: {matchLabels: {of: nobody}}}}}
  - {name: named, port: 8005, protocol: HTTP, hostname: named.example}
  tls:
    frontend:
      default: {}
      perPort:
      - {port: 8443, tls: {validation: {caCertificateRefs: [{group: "", kind: ConfigMap, name: nobody}]}}}
      - {port: 8444, tls: {validation: {caCertificateRefs: [{group: "", kind: Secret, name: good}]}}}
`

func listenerComplaints() []complaint {
	on := func(listener, condition string, status metav1.ConditionStatus, reason string, says ...string) complaint {
		return complaint{"Gateway/edge", "listeners[" + listener + "]", condition, status, reason, says}
	}
	no := func(listener, condition, reason string, says ...string) complaint {
		return on(listener, condition, metav1.ConditionFalse, reason, says...)
	}
	const cert, yes = "InvalidCertificateRef", metav1.ConditionTrue
	return []complaint{
		no("missing", "ResolvedRefs", cert, "spec.listeners[2].tls.certificateRefs[0]", "there is no Secret", "/nobody of type kubernetes.io/tls"),
		no("missing", "Programmed", "Invalid", "not served"),
		no("malformed", "ResolvedRefs", cert, "spec.listeners[3].tls.certificateRefs[0]", "/malformed:", "PEM"),
		no("unlike", "ResolvedRefs", cert, "spec.listeners[4].tls.certificateRefs[0]", "/unlike:", "private key does not match public key"),
		no("weak", "ResolvedRefs", cert, "spec.listeners[5].tls.certificateRefs[0]", "/weak:", "2048 bits"),
		on("expired", "ResolvedRefs", yes, "ResolvedRefs", "/expired ended on", "renew it"),
		on("expired", "Programmed", yes, "Programmed"),
		no("stolen", "ResolvedRefs", "RefNotPermitted", "spec.listeners[7].tls.certificateRefs[0]", "no ReferenceGrant in namespace tulle-system"),
		no("kind", "ResolvedRefs", cert, "spec.listeners[8].tls.certificateRefs[0]", "ConfigMap", "only Secret"),
		no("options", "Accepted", "UnsupportedValue", "spec.listeners[9].tls.options"),
		on("wide", "OverlappingTLSConfig", yes, "OverlappingHostnames", "listener narrow", "reuse connections"),
		on("narrow", "OverlappingTLSConfig", yes, "OverlappingHostnames", "listener wide"),
		on("narrow", "Programmed", yes, "Programmed"),
		no("authority", "ResolvedRefs", "InvalidCACertificateRef", "spec.tls.frontend.perPort[0].tls.validation.caCertificateRefs[0]", "/nobody with the key ca.crt"),
		no("authority", "Accepted", "NoValidCACertificate"),
		no("authority-kind", "ResolvedRefs", "InvalidCACertificateKind", "spec.tls.frontend.perPort[1]", "only ConfigMap"),
		no("foreign", "Accepted", "UnsupportedProtocol", "spec.listeners[14].protocol", "only HTTP, HTTPS, TLS, TCP and UDP"),
		no("own", "Accepted", "PortUnavailable", "spec.listeners[15].port", "15006 is used by the proxy"),
		on("one", "Conflicted", yes, "ProtocolConflict", "Listener two has the same port"),
		on("two", "Conflicted", yes, "ProtocolConflict", "Listener one has the same port"),
		no("one", "Accepted", "ProtocolConflict", "Listener two"),
		no("kinds", "ResolvedRefs", "InvalidRouteKinds", "spec.listeners[18].allowedRoutes.kinds", "TCPRoute", "only HTTPRoute and GRPCRoute"),
		on("good", "Programmed", yes, "Programmed"),
		on("http", "Programmed", yes, "Programmed"),
		{"Gateway/edge", "", "Accepted", yes, "ListenersNotValid", []string{"options", "see their conditions"}},
		{"Gateway/edge", "", "ResolvedRefs", metav1.ConditionFalse, "ListenersNotResolved", []string{"missing, malformed", "see their conditions"}},
		{"Gateway/edge", "", "Programmed", yes, "Programmed", nil},
	}
}

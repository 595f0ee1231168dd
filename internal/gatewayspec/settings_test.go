// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayspec

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"
)

func with(annotations map[string]string) *gwapiv1.Gateway {
	i := &gwapiv1.GatewayInfrastructure{Annotations: map[gwapiv1.AnnotationKey]gwapiv1.AnnotationValue{}}
	for k, v := range annotations {
		i.Annotations[gwapiv1.AnnotationKey(k)] = gwapiv1.AnnotationValue(v)
	}
	return &gwapiv1.Gateway{Spec: gwapiv1.GatewaySpec{Infrastructure: i}}
}

// TestSettingsOf is the table of what a Gateway may say, and of what is said back where it is wrong.
func TestSettingsOf(t *testing.T) {
	three, long, none := int32(3), 90*time.Minute, time.Duration(0)
	streams, window := int32(1000), int32(1<<20)
	for name, c := range map[string]struct {
		in      map[string]string
		want    Settings
		problem string
	}{
		"nothing":                     {nil, Settings{}, ""},
		"others":                      {map[string]string{"example.com/lb": "internal", "tulle.dev/other": "x"}, Settings{}, ""},
		"replicas":                    {map[string]string{"tulle.dev/replicas": "3"}, Settings{Replicas: &three}, ""},
		"a Service":                   {map[string]string{"tulle.dev/service-type": "NodePort", "tulle.dev/external-traffic-policy": "Local"}, Settings{ServiceType: "NodePort", ExternalTrafficPolicy: "Local"}, ""},
		"autoscaling":                 {map[string]string{"tulle.dev/min-replicas": "4", "tulle.dev/max-replicas": "9", "tulle.dev/target-cpu-percent": "60"}, Settings{Autoscaling: &Autoscaling{4, 9, 60}}, ""},
		"autoscaling by its defaults": {map[string]string{"tulle.dev/max-replicas": "9"}, Settings{Autoscaling: &Autoscaling{2, 9, 80}}, ""},
		"at most one":                 {map[string]string{"tulle.dev/max-replicas": "1"}, Settings{Autoscaling: &Autoscaling{1, 1, 80}}, ""},
		"no number":                   {map[string]string{"tulle.dev/replicas": "many"}, Settings{}, `spec.infrastructure.annotations[tulle.dev/replicas]: "many" is not a number from 1 to 64`},
		"none":                        {map[string]string{"tulle.dev/replicas": "0"}, Settings{}, `"0" is not a number from 1 to 64`},
		"beyond 32 bits":              {map[string]string{"tulle.dev/replicas": "4294967298"}, Settings{}, "is not a number from 1 to 64"},
		"min without max":             {map[string]string{"tulle.dev/min-replicas": "3"}, Settings{}, "annotations[tulle.dev/min-replicas]: needs tulle.dev/max-replicas too"},
		"target without max":          {map[string]string{"tulle.dev/target-cpu-percent": "50"}, Settings{}, "needs tulle.dev/max-replicas too"},
		"fixed and scaled":            {map[string]string{"tulle.dev/replicas": "3", "tulle.dev/max-replicas": "5"}, Settings{}, "cannot be set together with tulle.dev/max-replicas"},
		"min above max":               {map[string]string{"tulle.dev/min-replicas": "6", "tulle.dev/max-replicas": "5"}, Settings{}, "must be at most tulle.dev/max-replicas (5)"},
		"a time":                      {map[string]string{"tulle.dev/stream-idle-timeout": "1h30m"}, Settings{Clients: Clients{StreamIdle: &long}}, ""},
		"no limit of time":            {map[string]string{"tulle.dev/stream-idle-timeout": "0s"}, Settings{Clients: Clients{StreamIdle: &none}}, ""},
		"paths and headers":           {map[string]string{"tulle.dev/merge-slashes": "true", "tulle.dev/escaped-slashes": "Reject", "tulle.dev/headers-with-underscores": "Allow"}, Settings{Clients: Clients{Underscores: "Allow", MergeSlashes: true, EscapedSlashes: "Reject"}}, ""},
		"the defaults of both":        {map[string]string{"tulle.dev/merge-slashes": "false", "tulle.dev/escaped-slashes": "Keep", "tulle.dev/headers-with-underscores": "Drop"}, Settings{Clients: Clients{Underscores: "Drop", EscapedSlashes: "Keep"}}, ""},
		"HTTP/2":                      {map[string]string{"tulle.dev/http2-streams": "1000", "tulle.dev/http2-stream-window": "1Mi"}, Settings{Clients: Clients{Streams: &streams, StreamWindow: &window}}, ""},
		"the same in KiB":             {map[string]string{"tulle.dev/http2-stream-window": "1024Ki"}, Settings{Clients: Clients{StreamWindow: &window}}, ""},
		"too many streams":            {map[string]string{"tulle.dev/http2-streams": "1001"}, Settings{}, `annotations[tulle.dev/http2-streams]: "1001" is not a number from 1 to 1000`},
		"no streams":                  {map[string]string{"tulle.dev/http2-streams": "0"}, Settings{}, `"0" is not a number from 1 to 1000`},
		"too small a window":          {map[string]string{"tulle.dev/http2-stream-window": "63Ki"}, Settings{}, `annotations[tulle.dev/http2-stream-window]: "63Ki" is not a size from 64Ki to 16Mi such as 256Ki or 1Mi`},
		"too large a window":          {map[string]string{"tulle.dev/http2-stream-window": "17Mi"}, Settings{}, `"17Mi" is not a size`},
		"a window without a unit":     {map[string]string{"tulle.dev/http2-stream-window": "65536"}, Settings{}, `"65536" is not a size`},
		"a window in decimal":         {map[string]string{"tulle.dev/http2-stream-window": "1M"}, Settings{}, `"1M" is not a size`},
		"a window of much":            {map[string]string{"tulle.dev/http2-stream-window": "99999999999999999999Mi"}, Settings{}, "is not a size"},
		"a negative window":           {map[string]string{"tulle.dev/http2-stream-window": "-1Mi"}, Settings{}, `"-1Mi" is not a size`},
		"PROXY protocol":              {map[string]string{"tulle.dev/proxy-protocol": "Require"}, Settings{ProxyProtocol: "Require"}, ""},
		"no PROXY protocol":           {map[string]string{"tulle.dev/proxy-protocol": "true"}, Settings{}, `annotations[tulle.dev/proxy-protocol]: "true" is not supported, only Accept, Require`},
		"no time":                     {map[string]string{"tulle.dev/stream-idle-timeout": "5"}, Settings{}, `annotations[tulle.dev/stream-idle-timeout]: "5" is not a duration of at least 1s such as 90s, 5m or 1h, or 0s for no limit`},
		"a negative time":             {map[string]string{"tulle.dev/stream-idle-timeout": "-1s"}, Settings{}, `"-1s" is not a duration`},
		"too short a time":            {map[string]string{"tulle.dev/stream-idle-timeout": "10ms"}, Settings{}, `"10ms" is not a duration of at least 1s`},
		"no time at all":              {map[string]string{"tulle.dev/stream-idle-timeout": ""}, Settings{}, `"" is not a duration`},
		"not a truth":                 {map[string]string{"tulle.dev/merge-slashes": "yes"}, Settings{}, `annotations[tulle.dev/merge-slashes]: "yes" is not supported, only false, true`},
		"an unknown action":           {map[string]string{"tulle.dev/escaped-slashes": "Decode"}, Settings{}, `"Decode" is not supported, only Keep, Redirect, Reject, Unescape`},
		"an unknown fate":             {map[string]string{"tulle.dev/headers-with-underscores": "drop"}, Settings{}, `"drop" is not supported, only Allow, Drop, Reject`},
		"an unknown type":             {map[string]string{"tulle.dev/service-type": "ExternalName"}, Settings{}, `"ExternalName" is not supported, only ClusterIP, LoadBalancer, NodePort`},
		"an empty type":               {map[string]string{"tulle.dev/service-type": ""}, Settings{}, `"" is not supported`},
		"case counts":                 {map[string]string{"tulle.dev/external-traffic-policy": "local"}, Settings{}, `"local" is not supported, only Cluster, Local`},
	} {
		got, problem := SettingsOf(with(c.in))
		if d := cmp.Diff(c.want, got); d != "" || !strings.Contains(problem, c.problem) || (problem == "") != (c.problem == "") {
			t.Errorf("%s: problem %q, want %q; %s", name, problem, c.problem, d)
		}
		if r := Refuse(with(c.in)); (r != nil) != (c.problem != "") || r != nil && r.Reason != gwapiv1.GatewayReasonInvalidParameters {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if d := cmp.Diff([]string{"tulle.dev/other"}, Unknown(with(map[string]string{"tulle.dev/other": "x", "tulle.dev/replicas": "3", "a.b/c": "d"}))); d != "" {
		t.Error(d)
	}
}

// TestAllProblems: each wrong annotation is named, in order, and nothing that only follows from another one; the whole is
// short whatever the values are.
func TestAllProblems(t *testing.T) {
	all := map[string]string{}
	for _, k := range Keys() {
		all[k] = strings.Repeat("\x00\U0010ffff", 1000)
	}
	for name, c := range map[string]struct {
		in   map[string]string
		want []string
	}{
		"two": {
			map[string]string{"tulle.dev/service-type": "x", "tulle.dev/proxy-protocol": "y"},
			[]string{`tulle.dev/proxy-protocol]: "y" is not supported, only Accept, Require`, `tulle.dev/service-type]: "x" is not supported, only ClusterIP, LoadBalancer, NodePort`},
		},
		"two that need a third": {
			map[string]string{"tulle.dev/min-replicas": "2", "tulle.dev/target-cpu-percent": "50"},
			[]string{"tulle.dev/min-replicas]: needs tulle.dev/max-replicas too", "tulle.dev/target-cpu-percent]: needs tulle.dev/max-replicas too"},
		},
		"the third is wrong": {
			map[string]string{"tulle.dev/min-replicas": "2", "tulle.dev/target-cpu-percent": "50", "tulle.dev/max-replicas": "many", "tulle.dev/replicas": "3"},
			[]string{`tulle.dev/max-replicas]: "many" is not a number from 1 to 64`},
		},
		"min and fixed": {
			map[string]string{"tulle.dev/min-replicas": "6", "tulle.dev/max-replicas": "5", "tulle.dev/replicas": "3"},
			[]string{"tulle.dev/min-replicas]: must be at most tulle.dev/max-replicas (5)", "tulle.dev/replicas]: cannot be set together with tulle.dev/max-replicas: remove one of them"},
		},
		"all": {all, nil},
	} {
		for range 5 {
			_, problem := SettingsOf(with(c.in))
			if want := "spec.infrastructure.annotations[" + strings.Join(c.want, "; spec.infrastructure.annotations["); c.want != nil && problem != want {
				t.Errorf("%s: %q, want %q", name, problem, want)
			}
			if len(problem) > 8<<10 {
				t.Errorf("%s: the problem has %d bytes", name, len(problem))
			}
			for k := range c.in {
				if c.want == nil && strings.Count(problem, "annotations["+k+"]: ") != 1 {
					t.Errorf("%s is not named once: %s", k, problem)
				}
			}
		}
	}
}

// TestRefuse: addresses of other types and parametersRef, with words that lead to a fix.
func TestRefuse(t *testing.T) {
	kind := gwapiv1.AddressType("net.example/pool")
	r := Refuse(&gwapiv1.Gateway{Spec: gwapiv1.GatewaySpec{Addresses: []gwapiv1.GatewaySpecAddress{{Value: "192.0.2.1"}, {Type: &kind, Value: "blue"}}}})
	if r == nil || r.Reason != gwapiv1.GatewayReasonUnsupportedAddress || !strings.HasPrefix(r.Message, "spec.addresses[1].type: net.example/pool is not supported") {
		t.Errorf("%+v", r)
	}
	gw := with(nil)
	gw.Spec.Infrastructure.ParametersRef = &gwapiv1.LocalParametersReference{Kind: "ConfigMap", Name: "x"}
	if r = Refuse(gw); r == nil || r.Reason != gwapiv1.GatewayReasonInvalidParameters ||
		!strings.Contains(r.Message, "ConfigMap of the core group is not supported") || !strings.Contains(r.Message, "tulle.dev/replicas") {
		t.Errorf("%+v", r)
	}
}

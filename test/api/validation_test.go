// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package api

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"tulle.dev/tulle/api/v1alpha1"
)

// TestAcceptsAndRefuses is the table of what a Mesh may say; a refusal must tell what to write instead.
func TestAcceptsAndRefuses(t *testing.T) {
	for _, c := range []struct {
		name, spec string
		refusal    string // empty: accepted
	}{
		{"the least", `{version: 0.1.0}`, ""},
		{"a pre-release", `{version: 0.2.0-rc.1}`, ""},
		{"a version nobody knows yet", `{version: 9.9.9}`, ""}, // told in a condition, which lists the known ones
		{"no version", `{}`, "spec.version: Required value"},
		{"empty version", `{version: ""}`, "write a release such as 0.1.0"},
		{"a v", `{version: v0.1.0}`, "without a leading v"},
		{"two numbers", `{version: "0.1"}`, "write a release such as 0.1.0"},
		{"a range", `{version: "^0.1.0"}`, "write a release such as 0.1.0"},

		{"trust domain", `{version: 0.1.0, trustDomain: mesh.example.com}`, ""},
		{"one label", `{version: 0.1.0, trustDomain: prod}`, ""},
		{"spiffe scheme", `{version: 0.1.0, trustDomain: "spiffe://example.com"}`, "without spiffe://"},
		{"upper case", `{version: 0.1.0, trustDomain: Example.com}`, "lower case"},
		{"port", `{version: 0.1.0, trustDomain: "example.com:443"}`, "without a port"},
		{"underscore", `{version: 0.1.0, trustDomain: my_domain}`, "letters, digits"},
		{"trailing dot", `{version: 0.1.0, trustDomain: "example.com."}`, "write a DNS name"},
		{"address", `{version: 0.1.0, trustDomain: 192.0.2.1}`, "an IP address can't be a trust domain"},
		{"wildcard", `{version: 0.1.0, trustDomain: "*.example.com"}`, "write a DNS name"},

		{"cluster issuer", `{version: 0.1.0, certificates: {issuerRef: {name: corp}}}`, ""},
		{"issuer", `{version: 0.1.0, certificates: {issuerRef: {name: corp, kind: Issuer}}}`, ""},
		{"external issuer", `{version: 0.1.0, certificates: {issuerRef: {name: corp, kind: AWSPCAClusterIssuer, group: awspca.cert-manager.io}}}`, ""},
		{"issuer without name", `{version: 0.1.0, certificates: {issuerRef: {}}}`, "spec.certificates.issuerRef.name: Required value"},
		{"issuer of no kind", `{version: 0.1.0, certificates: {issuerRef: {name: corp, kind: Vault}}}`, "kind must be Issuer or ClusterIssuer"},
		{"lifetime", `{version: 0.1.0, certificates: {workloadLifetime: 1h30m}}`, ""},
		{"short lifetime", `{version: 0.1.0, certificates: {workloadLifetime: 5m}}`, "between 10m and 168h"},
		{"long lifetime", `{version: 0.1.0, certificates: {workloadLifetime: 8760h}}`, "between 10m and 168h"},
		{"lifetime in days", `{version: 0.1.0, certificates: {workloadLifetime: 1d}}`, "write a duration such as 24h"},
		{"huge lifetime", `{version: 0.1.0, certificates: {workloadLifetime: 99999999999h}}`, "write a duration such as 24h"},
		{"key", `{version: 0.1.0, certificates: {keyAlgorithm: RSA-4096}}`, ""},
		{"weak key", `{version: 0.1.0, certificates: {keyAlgorithm: RSA-1024}}`, `supported values: "ECDSA-P256"`},

		{"overflowing lifetime", `{version: 0.1.0, certificates: {workloadLifetime: 999999h999999h999999h}}`, "between 10m and 168h"},
		{"replicas", `{version: 0.1.0, controlPlane: {replicas: 3, nodeSelector: {a: b}}}`, ""},
		{"no replicas", `{version: 0.1.0, controlPlane: {replicas: 0}}`, "without a control plane, new pods don't start"},
		{"autoscaling", `{version: 0.1.0, controlPlane: {autoscaling: {minReplicas: 1, maxReplicas: 8, proxiesPerReplica: 200, targetCPUPercent: 80}}}`, ""},
		{"autoscaling without bound", `{version: 0.1.0, controlPlane: {autoscaling: {}}}`, "maxReplicas: Required value"},
		{"autoscaling upside down", `{version: 0.1.0, controlPlane: {autoscaling: {minReplicas: 4, maxReplicas: 3}}}`, "write a minReplicas that is at most maxReplicas"},
		{"autoscaling below the default", `{version: 0.1.0, controlPlane: {autoscaling: {maxReplicas: 1}}}`, "write a minReplicas that is at most maxReplicas"},
		{"autoscaling to nothing", `{version: 0.1.0, controlPlane: {autoscaling: {minReplicas: 0, maxReplicas: 3}}}`, "without a control plane, new pods don't start"},
		{"autoscaling without end", `{version: 0.1.0, controlPlane: {autoscaling: {maxReplicas: 17}}}`, "write 1 to 16 replicas"},
		{"autoscaling by no proxies", `{version: 0.1.0, controlPlane: {autoscaling: {maxReplicas: 3, proxiesPerReplica: 0}}}`, "write 1 to 100000 proxies"},
		{"autoscaling by no CPU", `{version: 0.1.0, controlPlane: {autoscaling: {maxReplicas: 3, targetCPUPercent: 0}}}`, "write 1 to 1000 percent"},
		{"any address", `{version: 0.1.0, controlPlane: {sourceAddressCheck: Disabled}}`, ""},
		{"no address", `{version: 0.1.0, controlPlane: {sourceAddressCheck: "Off"}}`, `supported values: "Enabled", "Disabled"`},
		{"resources", `{version: 0.1.0, controlPlane: {resources: {requests: {cpu: 100m}}}}`, ""},
		{"unknown field", `{version: 0.1.0, controlplane: {}}`, `unknown field "spec.controlplane"`},

		{"proxy", `{version: 0.1.0, proxy: {concurrency: 4, logLevel: debug, drainTime: 10s}}`, ""},
		{"threads", `{version: 0.1.0, proxy: {concurrency: 65}}`, "write 1 to 64 worker threads"},
		{"no threads", `{version: 0.1.0, proxy: {concurrency: -1}}`, "write 1 to 64 worker threads"},
		{"log level", `{version: 0.1.0, proxy: {logLevel: loud}}`, "supported values"},
		{"long drain", `{version: 0.1.0, proxy: {drainTime: 2h}}`, "at most 1h"},
		{"negative drain", `{version: 0.1.0, proxy: {drainTime: "-5s"}}`, "write a duration such as 30s"},

		{"selector", `{version: 0.1.0, injection: {namespaceSelector: {matchLabels: {team: a}}}}`, ""},
		{"annotations", `{version: 0.1.0, injection: {allowedAnnotations: [tulle.dev/proxy-log-level]}}`, ""},
		{"no annotations", `{version: 0.1.0, injection: {allowedAnnotations: []}}`, ""},
		{"image annotation", `{version: 0.1.0, injection: {allowedAnnotations: [tulle.dev/proxy-image]}}`, "supported values"},
		{"annotation twice", `{version: 0.1.0, injection: {allowedAnnotations: [tulle.dev/drain-seconds, tulle.dev/drain-seconds]}}`, "Duplicate value"},

		{"evicted pods without a proxy", `{version: 0.1.0, injection: {missing: Evict}}`, ""},
		{"deleted pods without a proxy", `{version: 0.1.0, injection: {missing: Delete}}`, `supported values: "Ignore", "Evict"`},

		{"strict", `{version: 0.1.0, mtls: {mode: Strict}}`, ""},
		{"no mtls", `{version: 0.1.0, mtls: {mode: Disabled}}`, "supported values"},

		{"gateway", `{version: 0.1.0, gateway: {replicas: 1, serviceType: NodePort}}`, ""},
		{"gateway type", `{version: 0.1.0, gateway: {serviceType: ExternalName}}`, "supported values"},
		{"gateway replicas", `{version: 0.1.0, gateway: {replicas: 100}}`, "write 1 to 64 replicas"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := admin.Create(t.Context(), specOf(t, "m", c.spec), client.DryRunAll, client.FieldValidation("Strict"))
			if c.refusal == "" && err != nil {
				t.Errorf("refused: %v", err)
			}
			if c.refusal != "" && (err == nil || !strings.Contains(err.Error(), c.refusal)) {
				t.Errorf("want a refusal with %q, got: %v", c.refusal, err)
			}
		})
	}
}

func specOf(t *testing.T, name, spec string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte("{apiVersion: tulle.dev/v1alpha1, kind: Mesh, metadata: {name: "+name+"}, spec: "+spec+"}"), &u.Object); err != nil {
		t.Fatal(err)
	}
	return u
}

// TestDefaults: one field is enough, and what is defaulted can be read off the object.
func TestDefaults(t *testing.T) {
	u := specOf(t, "m", `{version: 0.1.0}`)
	if err := admin.Create(t.Context(), u, client.DryRunAll); err != nil {
		t.Fatal(err)
	}
	want := `certificates:
  keyAlgorithm: ECDSA-P256
  maxClockSkew: 5m
  workloadLifetime: 24h
controlPlane:
  replicas: 2
  sourceAddressCheck: Enabled
gateway:
  replicas: 2
  serviceType: LoadBalancer
injection:
  missing: Ignore
mtls:
  mode: Permissive
proxy:
  concurrency: 1
  drainTime: 30s
  logLevel: warning
trustDomain: cluster.local
upgrade:
  dataPlane: InPlace
  gates:
    maxFailurePercent: 1
    maxSlowdownPercent: 100
    minRequests: 20
    onNoEvidence: Continue
  maxUnavailable: 10%
  onDifference: Pause
  rollback: Automatic
  soak: 1m
version: 0.1.0
`
	got, err := yaml.Marshal(u.Object["spec"])
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// TestTrustDomainStays: every certificate in use carries it.
func TestTrustDomainStays(t *testing.T) {
	m := &v1alpha1.Mesh{}
	m.Name, m.Spec.Version = "stays", "0.1.0"
	if err := admin.Create(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { forget(t, m) })
	m.Spec.TrustDomain = "example.com"
	if err := admin.Update(t.Context(), m); err == nil || !strings.Contains(err.Error(), "the trust domain can't change while the mesh runs") {
		t.Errorf("got %v", err)
	}
}

// TestLongName: the name is a label's value.
func TestLongName(t *testing.T) {
	err := admin.Create(t.Context(), specOf(t, strings.Repeat("a", 64), `{version: 0.1.0}`), client.DryRunAll)
	if err == nil || !strings.Contains(err.Error(), "write at most 63 characters") {
		t.Errorf("got %v", err)
	}
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package addon

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"tulle.dev/tulle/hack/cluster/layout"
	"tulle.dev/tulle/hack/internal/parts"
)

// An Addon is something that can be installed in a cluster.
type Addon struct {
	// Name is what people call it.
	Name string
	// Part is the program that its image holds; the zero Part means none.
	Part parts.Part
	// manifests renders what to apply.
	manifests func(context.Context, Cluster, string) ([]byte, error)
	// deployments are "namespace/name" of what must be available afterwards.
	deployments []string
	// definitions must be established afterwards; a label selector or "".
	definitions []string
	// works tries whether it does its work; nil if there is nothing to try.
	works func(context.Context, Cluster) error
}

// Cluster is what an add-on needs of the cluster that it goes into.
type Cluster struct {
	// Repo is the repository's folder, whose modules hold the definitions.
	Repo string
	// Kubectl is the command line of kubectl with its kubeconfig.
	Kubectl []string
	// Kubeconfig is the administrator's kubeconfig.
	Kubeconfig string
	// Records is the folder where what was installed is noted.
	Records string
	// DNSIP is the address that pods ask for names.
	DNSIP string
	// Load packs the part's binary as an image, loads it into the node and
	// returns its name.
	Load func(context.Context, parts.Part) (string, error)
}

//go:embed dns.yaml
var dnsManifest string

//go:embed certmanager.yaml
var certManagerManifest string

//go:embed probe.yaml
var certManagerProbe string

// DNS is CoreDNS. Every cluster has it.
func DNS() Addon {
	return Addon{
		Name: "dns", Part: parts.CoreDNS(), deployments: []string{"kube-system/coredns"}, works: answers,
		manifests: func(_ context.Context, c Cluster, image string) ([]byte, error) {
			return fill(dnsManifest, map[string]string{"CoreDNS": image, "DNSIP": c.DNSIP})
		},
	}
}

// CertManager is the whole of cert-manager: controller, webhook, cainjector.
func CertManager() Addon {
	return Addon{
		Name: "cert-manager", Part: parts.CertManager(),
		deployments: []string{"cert-manager/cert-manager", "cert-manager/cert-manager-cainjector", "cert-manager/cert-manager-webhook"},
		definitions: []string{"certificates.cert-manager.io", "clusterissuers.cert-manager.io"},
		works:       admits,
		manifests: func(ctx context.Context, c Cluster, image string) ([]byte, error) {
			own, err := fill(certManagerManifest, map[string]string{"CertManager": image, "CertManagerVersion": parts.CertManagerVersion})
			if err != nil {
				return nil, err
			}
			module := filepath.Join(c.Repo, parts.CertManager().Dir)
			crds, err := Definitions(ctx, module, "github.com/cert-manager/cert-manager", "deploy/crds/*.yaml")
			return append(crds, own...), err
		},
	}
}

// GatewayAPI is the experimental channel's resource definitions, in the version
// that the product is built with.
func GatewayAPI() Addon {
	return Addon{
		Name:        "gateway-api",
		definitions: []string{"gateways.gateway.networking.k8s.io", "httproutes.gateway.networking.k8s.io", "grpcroutes.gateway.networking.k8s.io"},
		manifests: func(ctx context.Context, c Cluster, _ string) ([]byte, error) {
			return Definitions(ctx, c.Repo, "sigs.k8s.io/gateway-api", "config/crd/experimental/gateway*.yaml")
		},
	}
}

// Find returns the add-on of a name that people may ask for.
func Find(name string) (Addon, error) {
	for _, a := range []Addon{CertManager(), GatewayAPI(), DNS()} {
		if a.Name == name {
			return a, nil
		}
	}
	return Addon{}, fmt.Errorf("unknown add-on %q: there are cert-manager, gateway-api and dns", name)
}

// Install applies an add-on and waits until it works, or ctx ends.
func Install(ctx context.Context, c Cluster, a Addon) error {
	install, err := Prepare(ctx, c, a)
	if err != nil {
		return err
	}
	return install(ctx)
}

// Prepare loads an add-on's image and renders its manifests. What it returns
// installs it, unless just that is installed already and works; installs of
// several add-ons may run at once.
func Prepare(ctx context.Context, c Cluster, a Addon) (install func(context.Context) error, err error) {
	image := ""
	if a.Part.Name != "" {
		if image, err = c.Load(ctx, a.Part); err != nil {
			return nil, fmt.Errorf("load image of %s: %w", a.Name, err)
		}
	}
	manifests, err := a.manifests(ctx, c, image)
	if err != nil {
		return nil, fmt.Errorf("render %s: %w", a.Name, err)
	}
	return func(ctx context.Context) error {
		if installed(ctx, c, a, manifests) {
			return nil
		}
		if out, err := kubectl(ctx, c, manifests, "apply", "--server-side", "--force-conflicts", "--field-manager=cluster", "-f", "-"); err != nil {
			return fmt.Errorf("apply %s: %w\n%s", a.Name, err, out)
		}
		if err := wait(ctx, c, a); err != nil {
			return err
		}
		return note(c, a, manifests)
	}, nil
}

func wait(ctx context.Context, c Cluster, a Addon) error {
	for _, d := range a.definitions {
		if out, err := kubectl(ctx, c, nil, "wait", "--for=condition=Established", "--timeout=60s", "crd/"+d); err != nil {
			return fmt.Errorf("wait for definition %s: %w\n%s", d, err, out)
		}
	}
	for _, d := range a.deployments {
		namespace, name, _ := strings.Cut(d, "/")
		if out, err := kubectl(ctx, c, nil, "-n", namespace, "rollout", "status", "--timeout=120s", "deployment/"+name); err != nil {
			pods, _ := kubectl(ctx, c, nil, "-n", namespace, "get", "pods", "-o", "wide")
			return fmt.Errorf("wait for Deployment %s: %w\n%s%s", d, err, out, pods)
		}
	}
	if a.works == nil {
		return nil
	}
	// A Deployment is available before kube-proxy knows its pods, and a webhook
	// before its certificate has reached the API server: only trying shows that
	// it works.
	deadline := time.Now().Add(time.Minute)
	for {
		err := a.works(ctx, c)
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return fmt.Errorf("%s is installed, but does not work: %w", a.Name, err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// answers asks the cluster's DNS server, by its cluster IP, for a name that
// every cluster has.
func answers(ctx context.Context, c Cluster) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, net.JoinHostPort(c.DNSIP, "53"))
	}}
	_, err := r.LookupHost(ctx, "kubernetes.default.svc."+layout.Domain+".")
	return err
}

// admits tries to make an Issuer, without making it, which passes the webhook.
func admits(ctx context.Context, c Cluster) error {
	out, err := kubectl(ctx, c, []byte(certManagerProbe), "apply", "--dry-run=server", "-f", "-")
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func kubectl(ctx context.Context, c Cluster, stdin []byte, args ...string) (string, error) {
	all := append(append([]string{}, c.Kubectl[1:]...), args...)
	cmd := exec.CommandContext(ctx, c.Kubectl[0], all...)
	cmd.Stdin = bytes.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func fill(text string, values map[string]string) ([]byte, error) {
	t, err := template.New("").Option("missingkey=error").Parse(text)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, values); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Definitions reads files out of the published module in the version that the
// module in folder uses.
func Definitions(ctx context.Context, folder, module, pattern string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", module)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("download module %s: %w\n%s", module, err, out)
	}
	var info struct{ Dir string }
	if err := json.Unmarshal(out, &info); err != nil {
		return nil, fmt.Errorf("read where module %s is: %w", module, err)
	}
	files, err := filepath.Glob(filepath.Join(info.Dir, pattern))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("module %s holds no %s", module, pattern)
	}
	var all bytes.Buffer
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return nil, fmt.Errorf("read definition: %w", err)
		}
		all.Write(data)
		all.WriteString("\n---\n")
	}
	return all.Bytes(), nil
}

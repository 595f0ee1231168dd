// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package olm

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tulle.dev/tulle/hack/bundle/source"
)

// Places in the bundle; its annotations say the same.
const (
	manifestsDir = "bundle/manifests"
	scorecardDir = "bundle/tests/scorecard"
	// fencesDir is beside the bundle, for kubectl: OLM refuses a bundle with kinds that it does not know.
	fencesDir = "bundle/fences"
)

// Channels that the bundle is published in, as OLM's naming convention has
// them, and the one that a subscription gets unless it says otherwise.
const (
	channels       = "candidate,fast,stable"
	defaultChannel = "stable"
)

// leftOut lists the kinds that OLM can't install and the operator can do
// without at first; docs/guides/operatorhub.md says how they are applied.
var leftOut = []string{"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}

// fence tells whether an object belongs to the policies that limit the operator: OLM must not own what it
// cannot install the rest of.
func fence(o source.Object) bool {
	return slices.Contains(leftOut, o.Kind()) || o.Kind() == "ClusterRole" && o.Name() == source.ImagesRole
}

// besides lists the kinds that OLM installs from files beside the
// ClusterServiceVersion (operator-registry, pkg/lib/bundle/supported_resources.go).
var besides = []string{
	"ClusterRole", "ClusterRoleBinding", "ConfigMap", "CustomResourceDefinition", "NetworkPolicy",
	"PodDisruptionBudget", "PriorityClass", "Role", "RoleBinding", "Service", "ServiceAccount",
}

// Generate returns the bundle's files, by path in the repository.
func Generate(repo string, images source.Images) (map[string][]byte, error) {
	all, err := source.Load(repo, "config/manifests")
	if err != nil {
		return nil, err
	}
	all = source.ReplaceImages(all, images)
	release, err := source.Release(all)
	if err != nil {
		return nil, err
	}
	icon, err := os.ReadFile(filepath.Join(repo, "config/manifests/bases/icon.svg"))
	if err != nil {
		return nil, fmt.Errorf("read the icon: %w", err)
	}
	placed, err := place(all)
	if err != nil {
		return nil, err
	}
	csv, err := fill(placed, release, base64.StdEncoding.EncodeToString(icon))
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{
		"bundle/metadata/annotations.yaml": []byte(metadata()),
		"bundle.Dockerfile":                []byte(dockerfile()),
	}
	add := func(folder, name string, o source.Object) error {
		text, err := o.YAML()
		if err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		files[folder+"/"+name] = text
		return nil
	}
	if err := add(manifestsDir, "tulle.clusterserviceversion.yaml", csv); err != nil {
		return nil, err
	}
	for _, o := range placed.besides {
		if err := add(manifestsDir, fileName(o), o); err != nil {
			return nil, err
		}
	}
	for _, o := range placed.fences {
		if err := add(fencesDir, fileName(o), o); err != nil {
			return nil, err
		}
	}
	for _, o := range placed.tests {
		if err := add(scorecardDir, "config.yaml", o); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// placement says where each object goes.
type placement struct {
	csv         source.Object
	deployments []source.Object
	crds        []source.Object
	examples    []source.Object
	// permissions are those that are bound in the whole cluster, by ServiceAccount.
	permissions []permission
	// namespace is where the operator must be installed.
	namespace source.Object
	// besides are shipped beside the ClusterServiceVersion, CRDs included.
	besides []source.Object
	// fences are applied by hand.
	fences []source.Object
	tests  []source.Object
}

type permission struct {
	account string
	rules   []any
}

func place(all []source.Object) (*placement, error) {
	p := &placement{}
	accounts := map[string]bool{} // those that OLM makes for the Deployments
	owned := map[string]bool{}    // group/kind of the CRDs
	for _, o := range all {
		switch o.Kind() {
		case "ClusterServiceVersion":
			p.csv = o.Copy()
		case "Deployment":
			p.deployments = append(p.deployments, o)
			accounts[o.Text("spec", "template", "spec", "serviceAccountName")] = true
		case "CustomResourceDefinition":
			p.crds = append(p.crds, o)
			owned[o.Text("spec", "group")+"/"+o.Text("spec", "names", "kind")] = true
		}
	}
	if p.csv == nil || len(p.deployments) == 0 {
		return nil, fmt.Errorf("config/manifests has no ClusterServiceVersion or no Deployment")
	}
	merged := map[string]bool{} // ClusterRoles that went into the ClusterServiceVersion
	for _, o := range all {
		if o.Kind() != "ClusterRoleBinding" || !onlyBinds(o, accounts) {
			continue
		}
		role, err := source.Find(all, "ClusterRole", func(r source.Object) bool { return r.Name() == o.Text("roleRef", "name") })
		if err != nil {
			return nil, fmt.Errorf("ClusterRole %s of a binding: %w", o.Text("roleRef", "name"), err)
		}
		merged[role.Name()] = true
		for _, s := range o.List("subjects") {
			p.permissions = append(p.permissions, permission{account: source.Object(s.(map[string]any)).Text("name"), rules: role.List("rules")})
		}
	}
	for _, o := range all {
		kind := o.Kind()
		switch {
		case fence(o):
			p.fences = append(p.fences, o)
		case kind == "ClusterServiceVersion", kind == "Deployment",
			kind == "ServiceAccount" && accounts[o.Name()],
			kind == "ClusterRoleBinding" && onlyBinds(o, accounts),
			kind == "ClusterRole" && merged[o.Name()]:
		case kind == "Namespace":
			p.namespace = o
		case owned[o.Group()+"/"+kind]:
			p.examples = append(p.examples, o)
		case o.Group() == "scorecard.operatorframework.io":
			p.tests = append(p.tests, o)
		case slices.Contains(besides, kind):
			p.besides = append(p.besides, here(o))
		default:
			return nil, fmt.Errorf("OLM can't install a %s (%s): see leftOut", kind, o.Name())
		}
	}
	if p.namespace == nil {
		return nil, fmt.Errorf("config/manifests has no Namespace")
	}
	return p, nil
}

// onlyBinds tells whether all subjects of a binding are accounts that OLM
// makes for the operator's Deployments.
//
// Bindings within a namespace are not asked: with OLM's install mode
// AllNamespaces, the namespaced permissions of a ClusterServiceVersion are
// granted in the whole cluster. Roles are therefore shipped as they are, and
// bind the operator's account in the namespace it is installed in; see here.
func onlyBinds(binding source.Object, accounts map[string]bool) bool {
	for _, s := range binding.List("subjects") {
		subject := source.Object(s.(map[string]any))
		if subject.Kind() != "ServiceAccount" || !accounts[subject.Text("name")] {
			return false
		}
	}
	return true
}

// here is the object without its namespace: OLM puts it where the operator is. A ServiceAccount that a
// RoleBinding names without a namespace is one of the RoleBinding's own (k8s.io/kubernetes,
// plugin/pkg/auth/authorizer/rbac, appliesToUser), so the binding is right in any namespace.
func here(o source.Object) source.Object {
	o = o.Copy()
	namespace := o.Namespace()
	delete(o.Map("metadata"), "namespace")
	if o.Kind() != "RoleBinding" {
		return o
	}
	for _, s := range o.List("subjects") {
		if subject := source.Object(s.(map[string]any)); subject.Kind() == "ServiceAccount" && subject.Text("namespace") == namespace {
			delete(subject, "namespace")
		}
	}
	return o
}

func fileName(o source.Object) string {
	if o.Kind() == "CustomResourceDefinition" {
		return o.Text("spec", "group") + "_" + o.Text("spec", "names", "plural") + ".yaml"
	}
	group := o.Group()
	if group == "" {
		group = "core"
	}
	return strings.ToLower(fmt.Sprintf("%s_%s_%s_%s.yaml", o.Name(), group, o.Version(), o.Kind()))
}

// label is one of the bundle's annotations, which are the image's labels too.
type label struct{ key, value string }

func labels() []label {
	const bundle = "operators.operatorframework.io.bundle."
	return []label{
		{bundle + "mediatype.v1", "registry+v1"},
		{bundle + "manifests.v1", "manifests/"},
		{bundle + "metadata.v1", "metadata/"},
		{bundle + "package.v1", "tulle"},
		{bundle + "channels.v1", channels},
		{bundle + "channel.default.v1", defaultChannel},
		{"operators.operatorframework.io.test.mediatype.v1", "scorecard+v1"},
		{"operators.operatorframework.io.test.config.v1", "tests/scorecard/"},
	}
}

func metadata() string {
	var b strings.Builder
	b.WriteString("annotations:\n")
	for _, l := range labels() {
		fmt.Fprintf(&b, "  %s: %s\n", l.key, l.value)
	}
	return b.String()
}

func dockerfile() string {
	var b strings.Builder
	b.WriteString("# The bundle's image, for people with docker. Generated by `make bundle`.\nFROM scratch\n\n")
	for _, l := range labels() {
		fmt.Fprintf(&b, "LABEL %s=%s\n", l.key, l.value)
	}
	b.WriteString("\nCOPY bundle/manifests /manifests/\nCOPY bundle/metadata /metadata/\nCOPY bundle/tests/scorecard /tests/scorecard/\n")
	return b.String()
}

// pretty is v as JSON that people can read, for annotations.
func pretty(v any) (string, error) {
	text, err := json.MarshalIndent(v, "", "  ")
	return string(text), err
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package chart

import (
	"fmt"
	"regexp"
	"strings"

	"tulle.dev/tulle/hack/bundle/source"
)

const folder = "charts/tulle"

// keep tells Helm to leave an object alone when the release is removed: with
// the CRD would go every Mesh.
const keep = "helm.sh/resource-policy"

// Generate returns the chart's files, by path in the repository.
func Generate(repo string, images source.Images) (map[string][]byte, error) {
	all, err := source.Load(repo, "config/default")
	if err != nil {
		return nil, err
	}
	all = source.ReplaceImages(all, images)
	samples, err := source.Load(repo, "config/samples")
	if err != nil {
		return nil, err
	}
	release, err := source.Release(samples)
	if err != nil {
		return nil, err
	}
	namespace, err := source.Find(all, "Namespace", nil)
	if err != nil {
		return nil, err
	}
	operator, err := source.Find(all, "Deployment", nil)
	if err != nil {
		return nil, err
	}
	values, err := defaults(operator)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{
		folder + "/Chart.yaml":          []byte(fmt.Sprintf(metadata, release, release)),
		folder + "/values.yaml":         values,
		folder + "/templates/NOTES.txt": []byte(notes),
	}
	for _, o := range all {
		var text []byte
		switch o.Kind() {
		case "Namespace": // the release's, which Helm or an administrator makes
			continue
		case "CustomResourceDefinition":
			text, err = definition(o)
		case "Deployment":
			text, err = deployment(o, namespace.Name())
		case "ClusterRole":
			if o.Name() == source.ImagesRole {
				text, err = imagesRole(o, operator)
				break
			}
			text, err = plain(o, namespace.Name())
		default:
			text, err = plain(o, namespace.Name())
		}
		if err != nil {
			return nil, fmt.Errorf("template of %s %s: %w", o.Kind(), o.Name(), err)
		}
		path := fmt.Sprintf("%s/templates/%s-%s.yaml", folder, strings.ToLower(o.Kind()), o.Name())
		if _, taken := files[path]; taken {
			return nil, fmt.Errorf("two objects for %s", path)
		}
		files[path] = text
	}
	policies, err := source.Load(repo, "config/network-policies")
	if err != nil {
		return nil, err
	}
	for _, o := range policies {
		text, err := plain(o, namespace.Name())
		if err != nil {
			return nil, fmt.Errorf("template of %s %s: %w", o.Kind(), o.Name(), err)
		}
		if value := moreEgress[o.Name()]; value != "" {
			const egress = "\n  egress:\n"
			if strings.Count(string(text), egress) != 1 {
				return nil, fmt.Errorf("template of %s %s: no line %q", o.Kind(), o.Name(), egress)
			}
			text = []byte(strings.Replace(string(text), egress, egress+"  {{- with .Values.networkPolicies."+value+" }}\n  {{- toYaml . | nindent 2 }}\n  {{- end }}\n", 1))
		}
		files[fmt.Sprintf("%s/templates/%s-%s.yaml", folder, strings.ToLower(o.Kind()), o.Name())] = []byte("{{- if .Values.networkPolicies.enabled }}\n" + string(text) + "{{- end }}\n")
	}
	return files, nil
}

// moreEgress are the values with further egress rules of a NetworkPolicy, by its name.
var moreEgress = map[string]string{"tulle-operator": "operatorEgress", "tulle-controlplane": "controlPlaneEgress"}

// plain is an object in which only the namespace is a value.
func plain(o source.Object, namespace string) ([]byte, error) {
	text, err := o.YAML()
	if err != nil {
		return nil, err
	}
	return inNamespace(escape(text), namespace), nil
}

// imagesRole is the ClusterRole whose annotations are the images that the operator may run.
func imagesRole(o, operator source.Object) ([]byte, error) {
	manager, proxy, err := images(operator)
	if err != nil {
		return nil, err
	}
	raw, err := o.YAML()
	if err != nil {
		return nil, err
	}
	text := imageValues(string(escape(raw)), manager, proxy)
	for annotation, value := range map[string]string{"more-repositories": "moreRepositories", "admission-adds": "admissionAdds"} {
		line := "tulle.dev/" + annotation + ": \"\"\n"
		if !strings.Contains(text, line) {
			return nil, fmt.Errorf("no line %q", line)
		}
		text = strings.Replace(text, line, "tulle.dev/"+annotation+": {{ join \" \" .Values."+value+" | quote }}\n", 1)
	}
	return []byte(text), nil
}

// imageValues replaces the two images by the values that name them.
func imageValues(text string, manager, proxy image) string {
	for image, value := range map[string]string{manager.String(): "image", proxy.String(): "proxyImage"} {
		whole := regexp.MustCompile("(?m)^(.*: )" + regexp.QuoteMeta(image) + "$")
		text = whole.ReplaceAllString(text, "${1}{{ include \"tulle.image\" .Values."+value+" }}")
	}
	return text
}

// definition is a CRD. It is a template and not in the chart's folder crds/,
// whose files Helm never upgrades.
func definition(o source.Object) ([]byte, error) {
	o = o.Copy()
	o.Set("keep", "metadata", "annotations", keep)
	text, err := o.YAML()
	if err != nil {
		return nil, err
	}
	return []byte("{{- if .Values.crds.install }}\n" + string(escape(text)) + "{{- end }}\n"), nil
}

// deployment is the operator's Deployment with its fields as values. A marked
// field is set to mark and its line rewritten afterwards.
func deployment(o source.Object, namespace string) ([]byte, error) {
	o = o.Copy()
	c := o.List("spec", "template", "spec", "containers")
	if len(c) != 1 {
		return nil, fmt.Errorf("want one container, found %d", len(c))
	}
	container := source.Object(c[0].(map[string]any))
	o.Set(mark+"replicas", "spec", "replicas")
	container.Set(mark+"resources", "resources")
	container.Set(mark+"imagePullPolicy", "imagePullPolicy")
	for _, optional := range []string{"nodeSelector", "tolerations", "affinity", "priorityClassName", "topologySpreadConstraints"} {
		if o.At("spec", "template", "spec", optional) == nil {
			o.Set(mark+optional, "spec", "template", "spec", optional)
		}
	}
	manager, proxy, err := images(o)
	if err != nil {
		return nil, err
	}
	raw, err := o.YAML()
	if err != nil {
		return nil, err
	}
	text := imageValues(string(inNamespace(escape(raw), namespace)), manager, proxy)
	text = marked.ReplaceAllStringFunc(text, func(line string) string {
		m := marked.FindStringSubmatch(line)
		return field(m[1], m[2])
	})
	if strings.Contains(text, mark) {
		return nil, fmt.Errorf("a marked field was not rewritten")
	}
	return []byte(text + imageTemplate), nil
}

// mark is the value of a field that becomes a template.
const mark = "VALUE-"

var marked = regexp.MustCompile("(?m)^( *)([A-Za-z]+): " + mark + "[A-Za-z]+$")

func field(indent, name string) string {
	inner := len(indent) + 2
	switch name {
	case "replicas", "imagePullPolicy":
		return fmt.Sprintf("%s%s: {{ .Values.%s }}", indent, name, name)
	case "resources":
		return fmt.Sprintf("%s%s: {{- toYaml .Values.%s | nindent %d }}", indent, name, name, inner)
	case "priorityClassName":
		return fmt.Sprintf("%s{{- with .Values.%s }}\n%s%s: {{ . }}\n%s{{- end }}", indent, name, indent, name, indent)
	}
	return fmt.Sprintf("%s{{- with .Values.%s }}\n%s%s: {{- toYaml . | nindent %d }}\n%s{{- end }}", indent, name, indent, name, inner, indent)
}

const imageTemplate = `
{{- define "tulle.image" -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag }}{{ end }}
{{- end }}
`

// escape keeps Helm from reading an object's own text as a template.
func escape(text []byte) []byte {
	return []byte(strings.ReplaceAll(string(text), "{{", "{{ \"{{\" }}"))
}

// inNamespace makes the operator's namespace the release's, wherever it is
// named: in metadata, in the subjects of bindings, in the policy's expression.
func inNamespace(text []byte, namespace string) []byte {
	return []byte(strings.ReplaceAll(string(text), namespace, "{{ .Release.Namespace }}"))
}

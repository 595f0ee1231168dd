# SPDX-License-Identifier: Apache-2.0
# Copyright The Tulle Authors.
#
# `make help` lists the targets. Two matter most: `make demo` and `make test`.
# Both bring up a real Kubernetes on this machine (hack/cluster), or use yours:
# KUBECONFIG=... make demo. Then the images must be where your nodes find them.

SHELL := /bin/bash
.DEFAULT_GOAL := help
export GOFLAGS ?= -mod=readonly
# The go command fetches this toolchain from the module proxy, also where the environment says GOTOOLCHAIN=local.
export GOTOOLCHAIN := $(shell sed -n 's/^toolchain //p' go.mod)

# The cluster: the user's own where KUBECONFIG is set, else the embedded one. CLUSTER=other RANGE=1
# makes and uses another embedded one beside it; K8S=1.36 runs that version of Kubernetes (hack/cluster).
CLUSTER ?= tulle
NODE := bin/cluster --name $(CLUSTER) $(if $(RANGE),--range $(RANGE))
EMBEDDED := $(or $(XDG_STATE_HOME),$(HOME)/.local/state)/tulle/$(CLUSTER)/kubeconfig
KUBECONFIG := $(or $(KUBECONFIG),$(EMBEDDED))
ifeq ($(KUBECONFIG),$(EMBEDDED))
KUBECTL ?= $(CURDIR)/bin/cluster --name $(CLUSTER) kubectl
else
OWN_CLUSTER := 1
KUBECTL ?= kubectl
endif
export KUBECONFIG KUBECTL CLUSTER RANGE K8S
IMAGES := tulle tulle-proxy shop echo load capture intruder proxyless
# Previous releases whose images are packed too, from their commits (hack/images/release.go): upgrades are
# tested from these.
RELEASES ?= 0.2.0
TOOL := go tool -modfile=$(CURDIR)/hack/tools/go.mod
GOTEST := bin/gotest -log out

# Packages whose tests need more than Go: Envoy, root or a cluster.
NEEDS_MORE := /test/(api|cli|datapath|dataplane|e2e|envoy|olm|restore|routes)(/|$$)
UNIT = $$(go list ./... | grep -Ev '$(NEEDS_MORE)')
# Packages that start goroutines or guard state against them; test/rules compares the list with the sources.
RACE := ./controllers/gateway ./controllers/mesh ./controllers/trust ./internal/bounded ./internal/cli/cluster \
	./internal/controlplane ./internal/controlplane/access ./internal/controlplane/ca ./internal/controlplane/inject \
	./internal/controlplane/intake ./internal/controlplane/referenced ./internal/controlplane/source \
	./internal/controlplane/status ./internal/controlplane/xds \
	./internal/dataplane/agent ./internal/dataplane/client ./internal/dataplane/envoy \
	./internal/dataplane/identity ./internal/dataplane/metrics ./internal/dataplane/probes \
	./internal/dataplane/relay ./internal/dataplane/slot \
	./internal/lifecycle/apply ./internal/printable ./internal/scrape

##@ Main

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: check-cluster tools ## Bring up a cluster with a mesh and a shop, split its traffic, and tell what happened
	@$(MAKE) --no-print-directory cluster images IMAGES="tulle tulle-proxy shop load" RELEASES=
	@go build -o bin/ ./cmd/tulle
	@go run ./test/demo

.PHONY: demo-upgrade
demo-upgrade: check-cluster tools ## On the same cluster and shop, upgrade the mesh under load, and show that nothing notices
	@$(MAKE) --no-print-directory cluster images IMAGES="tulle tulle-proxy shop load"
	@go build -o bin/ ./cmd/tulle
	@go run ./test/demo -upgrade -rate 25

.PHONY: demo-down
demo-down: ## Remove everything that the demo made
ifdef OWN_CLUSTER
	-$(KUBECTL) delete --ignore-not-found -k config/samples/shop
	-$(KUBECTL) delete --ignore-not-found -n default job/visitor serviceaccount/visitor
	-$(KUBECTL) delete --ignore-not-found -f config/samples/tulle_v1alpha1_mesh.yaml
	-$(KUBECTL) delete --ignore-not-found -k config/default
else
	@$(MAKE) --no-print-directory bin/cluster
	$(NODE) down
endif

STAGES := verify lint vulnerabilities unit race cluster room images ground envoy dataplane api install e2e conformance-part

.PHONY: test
test: check-cluster tools ## Run every test, stage by stage, on a real cluster
	@hack/run-stages $(STAGES)

##@ Stages of test, each a target of its own

.PHONY: verify
verify: ## Generated files are up to date, and so are go.mod and go.sum of every module; licences of dependencies are allowed
	@$(MAKE) --no-print-directory generate
	@git diff --exit-code --stat -- api config bundle bundle.Dockerfile charts || { echo 'run "make generate" and commit what it changes'; exit 1; }
	@hack/check-modules
	@$(MAKE) --no-print-directory licenses

.PHONY: licenses
licenses: ## Every dependency of every module has an allowed licence (hack/internal/licenses)
	@go run -C hack ./licenses

.PHONY: lint
lint: ## gofumpt, go vet and golangci-lint are content
	@bad=$$($(TOOL) gofumpt -l $$(git ls-files '*.go')); [ -z "$$bad" ] || { echo "not formatted (make fmt):"; echo "$$bad"; exit 1; }
	go vet ./...
	$(TOOL) golangci-lint run --allow-parallel-runners ./...
	@for m in hack hack/bundle test/bench test/conformance test/conformance/servers; do echo "go vet $$m"; go vet -C $$m ./... || exit 1; done

.PHONY: vulncheck
vulncheck: ## The product calls no code with a known vulnerability (the database is GOVULNDB, or https://vuln.go.dev)
	@go run -C hack ./vulncheck

# As a stage: without a database nothing is checked, which is reported and no failure.
.PHONY: vulnerabilities
vulnerabilities:
	@go run -C hack ./vulncheck -optional

.PHONY: unit
unit: bin/gotest ## Unit, golden, property and import-rule tests, and the seeds of the fuzz tests
	@$(GOTEST) -name unit -min 1000 -- $(UNIT)
	@$(GOTEST) -name unit-hack -min 20 -C hack -- ./...
	@$(GOTEST) -name unit-conformance -C test/conformance -- -run 'TestChoose|TestAddresses|TestHow|TestUpToDate' ./...
	@$(GOTEST) -name unit-servers -C test/conformance/servers -- ./...
	@$(GOTEST) -name unit-bundle -min 12 -C hack/bundle -- -count=1 ./... # what they read is outside of their module

.PHONY: race
race: bin/gotest ## The packages that start goroutines or guard state against them, under the race detector
	@# TestCost measures allocations, which the detector changes.
	@$(GOTEST) -name race -min 400 -- -race -count=1 -skip '^TestCost$$' $(RACE)

.PHONY: fuzz
fuzz: ## Run every fuzz target for FOR together (FOR=10m; FUZZ=expression chooses some)
	@hack/fuzz $(or $(FOR),10m)

.PHONY: ground
ground: bin/gotest ## The embedded cluster itself: nothing leaves the machine, what dies comes back; images and their bills of materials (root; makes clusters of its own)
	@$(GOTEST) -name ground -min 4 -C hack -- -count=1 -tags live -run TestLive ./cluster ./images

.PHONY: envoy
envoy: bin/gotest bin/images ## The real Envoy takes every golden output, and does what it says
	@TULLE_ENVOY=$$(bin/images envoy) TULLE_ENVOY_BEFORE=$$(bin/images envoy --release 0.2.0) $(GOTEST) -name envoy -min 20 -- -count=1 ./test/envoy

.PHONY: dataplane
dataplane: bin/gotest bin/images ## Agent, slots and redirection with the real Envoy in network namespaces (root)
	@bin/images programs --release 0.2.0 out/before tulle-proxy
	@TULLE_ENVOY=$$(bin/images envoy) TULLE_PROXY_BEFORE=$(CURDIR)/out/before $(GOTEST) -name dataplane -min 5 -- -count=1 ./test/dataplane

.PHONY: api
api: bin/gotest bin/cluster ## The operator and the CRD against the real API server
	$(if $(OWN_CLUSTER),$(NODE) build)
	@$(GOTEST) -name api -min 20 -- -count=1 -timeout 15m ./test/api/...

# What makes the embedded cluster's components fail; nobody does that to yours.
FAILING := $(if $(OWN_CLUSTER),,$(CURDIR)/bin/cluster --name $(CLUSTER))

# These wait for minutes, and unit and API-server tests hold what they hold: they run with test-lifecycle.
LONG := TestCutConnectionsShow|TestRootRotationCalledOff|TestAnotherReplica|TestLabelledLater

# Attacks that last for minutes run with test-attacks.
ATTACKS := TestAttacksOnADS|TestStrangersAtTheControlPlane|TestSecretsThatTakeLongToParse|TestAttacksOnTheDataPath

# These end containers from outside, so the node has to be this machine.
ELSEWHERE := $(if $(OWN_CLUSTER),|TestSlots|TestExitingRelease)

.PHONY: e2e
e2e: bin/gotest room faulty ## The promises, on the cluster, under load
	@TULLE_MESH=tulle TULLE_NODE="$(FAILING)" $(GOTEST) -name e2e -min 60 -- -count=1 -p 1 -timeout 60m -skip '$(LONG)|$(ATTACKS)$(ELSEWHERE)' ./test/cli ./test/e2e

.PHONY: test-attacks
test-attacks: check-cluster tools ## Attacks on the ports of the control plane and the proxies, each for minutes, while a mesh serves (a quarter of an hour)
	@hack/run-stages cluster room images install attacks

.PHONY: attacks
attacks: bin/gotest room
	@TULLE_MESH=tulle TULLE_NODE="$(FAILING)" $(GOTEST) -name attacks -min 4 -- -count=1 -p 1 -timeout 60m -run '$(ATTACKS)' ./test/e2e

.PHONY: test-lifecycle
test-lifecycle: check-cluster tools ## The long forms: upgrades and rotations with more pods and requests, every bad release, restore in another cluster, OLM (an hour)
	@hack/run-stages cluster room images install lifecycle restore-elsewhere test-olm

.PHONY: lifecycle
lifecycle: FAULTY := 0.3.3 0.3.4 0.3.5 0.3.6 0.3.7
lifecycle: bin/gotest room faulty
	@TULLE_MESH=tulle TULLE_NODE="$(FAILING)" TULLE_FULL=1 $(GOTEST) -name lifecycle -min 5 -- -count=1 -p 1 -timeout 90m \
		-run 'Upgrade|Swaps|BadReleases|FaultyReleases|Rotation|$(LONG)' ./test/e2e

.PHONY: restore-elsewhere
restore-elsewhere: bin/gotest bin/cluster bin/images ## A backup of this cluster's mesh is put back in a second, embedded one, with the same identities
	@trap 'bin/cluster --name tulle-second down' EXIT; \
	set -e; bin/cluster --name tulle-second --range 62 up; \
	bin/images load --name tulle-second tulle tulle-proxy echo load; \
	for r in $(RELEASES); do bin/images load --name tulle-second --release $$r tulle tulle-proxy; done; \
	bin/cluster --name tulle-second kubectl apply --server-side -k config/default; \
	bin/cluster --name tulle-second kubectl -n tulle-system rollout status deployment --timeout=180s; \
	TULLE_MESH=tulle TULLE_SECOND=$$(bin/cluster --name tulle-second env | sed 's/.*KUBECONFIG=//') \
		$(GOTEST) -name restore -min 1 -- -count=1 -timeout 15m ./test/restore

.PHONY: test-olm
test-olm: bin/gotest bin/cluster bin/images bin/olm bundle ## OLM installs the operator of 0.2.0, upgrades it to this one and removes it, under load, on an embedded cluster of its own
	@rm -rf out/older && bin/images source --release 0.2.0 out/older bundle config/webhook config/samples/tulle_v1alpha1_mesh.yaml
	@trap 'bin/cluster --name tulle-olm down' EXIT; \
	set -e; bin/cluster --name tulle-olm --range 61 up; \
	bin/images load --name tulle-olm tulle tulle-proxy echo load; \
	bin/images load --name tulle-olm --release 0.2.0 tulle tulle-proxy; \
	bin/olm --name tulle-olm up; \
	KUBECONFIG=$$(bin/cluster --name tulle-olm env | sed 's/.*KUBECONFIG=//') TULLE_OLM_CLUSTER=tulle-olm TULLE_OLDER_TREE=$(CURDIR)/out/older \
		$(GOTEST) -name olm -- -count=1 -timeout 25m ./test/olm

.PHONY: scorecard
scorecard: bin/olm bundle ## operator-sdk's tests of the bundle (needs no cluster; its first build takes minutes)
	bin/olm scorecard bundle

##@ Conformance

.PHONY: conformance
conformance: check-cluster tools ## The Gateway API's conformance suite, all seven profiles (TEST=expression or FEATURE=name choose some)
	@hack/run-stages cluster room images install conformance-run
ifeq ($(TEST)$(FEATURE),)
	@cp out/conformance.yaml docs/conformance/report.yaml
	@echo "the report is in docs/conformance/report.yaml"
endif

# Of each profile something, and what other tests don't see: about a third of the suite.
PART := ^(Mesh.*|GRPC.*|UDPRoute|UDPRouteWeightedRouting|TCPRoute(WeightedRouting|MultipleRoutesAttachment|ReferenceGrant)|TLSRoute(SimpleSameNamespace|HostnameIntersection|MultipleRoutesAttachmentSameHostnameIntersection|TerminateSimpleSameNamespace|MixedTerminationSameNamespace)|HTTPRoute(Matching|CORS|Retry|BackendURLRewrite|TimeoutRequest|HTTPSListenerDetectMisdirectedRequests|RequestMirror|ServiceTypes|BackendProtocolWebSocket)|BackendTLSPolicy|BackendTLSPolicyTLSRouteTerminate|ListenerSet(HTTPRouting|HostnameConflict)|Gateway(PreserveForeignConditions|FrontendClientCertificateValidation|TLSBackendClientCertificate|StaticAddresses|ModifyListeners|SecretReferenceGrantSpecific))$$

.PHONY: conformance-part
conformance-part: export TEST = $(PART)
conformance-part: LEAST := 40
conformance-part: conformance-run ## A third of the conformance suite, of all profiles (part of make test)

LEAST ?= 1

.PHONY: conformance-run
conformance-run: bin/gotest bin/images bin/cluster room
ifdef OWN_CLUSTER
	@echo "your nodes must find these images:"; go run -C test/conformance ./refs
	@# What a run that was interrupted left behind; from the embedded cluster, room removes it.
	$(KUBECTL) delete namespaces -l gateway-conformance --ignore-not-found --timeout=180s
else
	bin/images load-as --name $(CLUSTER) $$(go run -C test/conformance ./refs)
endif
	@# The suite's own labels say which of its namespaces are a mesh.
	$(KUBECTL) patch meshes.tulle.dev tulle --type merge -p '{"spec":{"gateway":{"replicas":1},"injection":{"namespaceSelector":{"matchExpressions":[{"key":"gateway-conformance","operator":"In","values":["mesh","mesh-consumer"]}]}}}}'
	@mkdir -p out
	@VERSION=$$($(KUBECTL) get meshes.tulle.dev tulle -o jsonpath='{.spec.version}') \
	POOL=$(or $(POOL),$(if $(OWN_CLUSTER),,$$($(NODE) env --load-balancers))) REPORT=$(CURDIR)/out/conformance.yaml TEST='$(TEST)' FEATURE='$(FEATURE)' \
		$(GOTEST) -name conformance -min $(LEAST) -each -C test/conformance -- -count=1 -timeout 60m .

##@ Cluster

.PHONY: cluster
cluster: ## Bring up the embedded cluster with cert-manager and the Gateway API (or look at your own)
ifdef OWN_CLUSTER
	@$(KUBECTL) version
	@echo "using the cluster of KUBECONFIG=$(KUBECONFIG)"
else
	@$(MAKE) --no-print-directory bin/cluster
	$(NODE) up
endif

# Beside them, pods of the tests stay Pending on a node of two cores. On your cluster there may be more room,
# and what is there is yours.
.PHONY: room
room: bin/cluster ## Remove the demo's shop, and what an interrupted conformance suite left, from the embedded cluster
ifndef OWN_CLUSTER
	@$(KUBECTL) delete namespaces -l gateway-conformance --ignore-not-found --timeout=180s
	@if $(KUBECTL) get namespace shop >/dev/null 2>&1; then \
		echo "removing the demo's shop: the tests need its room on the node (make demo brings it back)"; \
		$(KUBECTL) delete --ignore-not-found --timeout=180s -k config/samples/shop; \
	fi
endif

.PHONY: cluster-down
cluster-down: bin/cluster ## Remove the embedded cluster
	$(NODE) down

.PHONY: images
images: ## Pack the images and load them into the embedded cluster
ifdef OWN_CLUSTER
	@echo "your nodes must find the images tulle.local/{$(IMAGES)}:dev, and of $(or $(RELEASES),no earlier release) tulle and tulle-proxy tagged with it (make pack, or the Dockerfiles)"
else
	@$(MAKE) --no-print-directory bin/images
	bin/images load --name $(CLUSTER) $(IMAGES)
	@for r in $(RELEASES); do \
		echo bin/images load --name $(CLUSTER) --release $$r tulle tulle-proxy; \
		bin/images load --name $(CLUSTER) --release $$r tulle tulle-proxy || exit 1; \
	done
endif

# Releases with faults (hack/images/faulty.go), which upgrades are to be stopped and rolled back by.
FAULTY ?= 0.3.5

.PHONY: faulty
faulty: ## Pack the releases with faults, for the tests of upgrades, and load them into the embedded cluster
ifdef OWN_CLUSTER
	@echo "your nodes must find tulle.local/{tulle,tulle-proxy} of $(FAULTY), too (bin/images build --release ...)"
else
	@$(MAKE) --no-print-directory bin/images
	@for r in $(FAULTY); do \
		echo bin/images load --name $(CLUSTER) --release $$r tulle tulle-proxy; \
		bin/images load --name $(CLUSTER) --release $$r tulle tulle-proxy || exit 1; \
	done
endif

.PHONY: pack
pack: bin/images ## Pack the images into files, without a docker daemon
	bin/images build $(IMAGES)
	@for r in $(RELEASES); do bin/images build --release $$r tulle tulle-proxy || exit 1; done

.PHONY: install
install: ## Install the operator and a mesh on the cluster, and wait until it is Ready
	$(KUBECTL) apply --server-side --force-conflicts -k config/default
	@# The images' tag stays the same while you work: what runs already has to be told.
	$(KUBECTL) -n tulle-system rollout restart deployment
	$(KUBECTL) -n tulle-system rollout status deployment tulle-operator --timeout=180s
	$(KUBECTL) apply -f config/samples/tulle_v1alpha1_mesh.yaml
	@# A mesh of another release is upgraded first; then there is one control plane.
	$(KUBECTL) wait --for=condition=Upgraded --timeout=300s meshes.tulle.dev/tulle
	$(KUBECTL) -n tulle-system rollout status deployment --timeout=180s
	$(KUBECTL) wait --for=condition=Ready --timeout=180s meshes.tulle.dev/tulle

##@ Benchmarks

.PHONY: bench
bench: bench-engine bench-ads bench-routes bench-datapath ## All benchmarks; each fails if it misses its target

.PHONY: bench-engine
bench-engine: ## One change among 1,000 and 20,000 Services: evaluations, time, allocations
	go run -C test/bench ./engine
	go test -run XXX -bench Change -benchtime 2000x ./internal/controlplane/pipeline

.PHONY: bench-ads
bench-ads: ## 500 clients: CPU, memory and latency, beside go-control-plane's server
	go run -C test/bench ./ads

.PHONY: bench-routes
bench-routes: check-cluster tools ## Edits of routes, new Gateways, 500 routes on a Gateway: latency and cost, into docs/benchmarks/routes.md (an idle machine, eight minutes)
	@hack/run-stages cluster room images install bench-routes-run

.PHONY: bench-routes-run
bench-routes-run:
	@$(MAKE) --no-print-directory images IMAGES=poll RELEASES=
	@# What a run that was interrupted left behind.
	$(KUBECTL) delete namespaces -l tulle.dev/benchmark=routes --ignore-not-found --timeout=180s
	TULLE_MESH=tulle go test -count=1 -v -timeout 9m ./test/routes -report $(CURDIR)/docs/benchmarks/routes.md

.PHONY: bench-datapath
bench-datapath: ## CPU per request and latency, direct and through two sidecars, and idle memory (needs make install)
	go test -count=1 -v -timeout 15m -run TestCost ./test/datapath
	TULLE_ENVOY=$$(bin/images envoy) go test -count=1 -v -run TestMemory ./test/dataplane

##@ Work

.PHONY: build
build: ## Build the programs into bin/
	go build -o bin/ . ./cmd/...

.PHONY: fmt
fmt: ## Format the Go files
	$(TOOL) gofumpt -w $$(git ls-files '*.go')

.PHONY: generate
generate: ## Write the CRD and the deep copies from api/, and the bundle and the chart from config/
	$(TOOL) controller-gen object:headerFile=hack/boilerplate.go.txt paths=./api/...
	$(TOOL) controller-gen crd:maxDescLen=320 paths=./api/... output:crd:dir=config/crd/bases
	@$(MAKE) --no-print-directory bundle chart

# The images that the bundle and the chart name; empty: those of config/default.
IMAGE ?=
PROXY_IMAGE ?=
BUNDLE := go run -C hack/bundle . -repo ../.. -image "$(IMAGE)" -proxy-image "$(PROXY_IMAGE)"

.PHONY: bundle
bundle: ## Write the OLM bundle from config/manifests
	$(BUNDLE) olm

.PHONY: chart
chart: ## Write the Helm chart from config/default
	$(BUNDLE) chart

.PHONY: reference
reference: ## Write docs/reference/gateway-api.md
	@mkdir -p docs/reference
	go run -C test/conformance ./reference > docs/reference/gateway-api.md

.PHONY: golden-update
golden-update: ## Rewrite the golden files from what the code does now; read the diff
	go test ./internal/controlplane/envoy ./internal/controlplane/gatewayapi ./internal/controlplane/inject ./internal/lifecycle/render -update

.PHONY: check-envoy
check-envoy: bin/images ## Compare the pinned hash of Envoy with the checksums that Envoy publishes (CHECKSUMS=checksums.txt, RELEASE=0.2.0)
	@[ -n "$(CHECKSUMS)" ] || { echo 'set CHECKSUMS to the verified checksum file of the Envoy release (docs/operating/supply-chain.md)'; exit 1; }
	@bin/images check-envoy $(if $(RELEASE),--release $(RELEASE)) '$(CHECKSUMS)'

.PHONY: sbom
sbom: bin/images ## Write the bills of materials (CycloneDX) of the published images into out/sbom
	@bin/images sbom tulle tulle-proxy

.PHONY: pin-bases
pin-bases: bin/images ## Write the digests of base images into the Dockerfiles (asks their registries)
	@bin/images pin-bases

.PHONY: check-cluster
check-cluster:
	@hack/check-machine $(if $(OWN_CLUSTER),,cluster)

.PHONY: tools
tools: bin/cluster bin/images bin/gotest

# Always asked; the go command knows what has changed.
.PHONY: bin/cluster bin/images bin/gotest bin/olm
bin/cluster bin/images bin/gotest bin/olm:
	@go build -C hack -o ../$@ ./$(notdir $@)

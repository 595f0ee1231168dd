// The servers of the Gateway API's conformance suite. The suite imports them from a module of this name,
// which the module proxy does not have; test/conformance replaces that module with this folder.
module sigs.k8s.io/gateway-api-conformance-images

go 1.27.0

toolchain go1.27.3

require (
	golang.org/x/net v0.61.0
	google.golang.org/grpc v1.84.0
)

require (
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260706201446-f0a921348800 // indirect
	google.golang.org/protobuf v1.36.11 // indirect
)

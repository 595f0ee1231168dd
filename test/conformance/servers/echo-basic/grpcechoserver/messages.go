// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package grpcechoserver is the gRPC service of the conformance suite's backend. It is written by hand:
// the tags of plain structs have the field numbers, and the protobuf runtime accepts such structs as
// messages. The suite's client uses the types, so their names and fields are given.
package grpcechoserver

import "fmt"

const pkg = "gateway_api_conformance.echo_basic.grpcecho."

// Header is one value of a header of the request.
type Header struct {
	Key   string `protobuf:"bytes,1,opt,name=key,proto3"`
	Value string `protobuf:"bytes,2,opt,name=value,proto3"`
}

// Context is the server that answered.
type Context struct {
	Namespace   string `protobuf:"bytes,1,opt,name=namespace,proto3"`
	Ingress     string `protobuf:"bytes,2,opt,name=ingress,proto3"`
	ServiceName string `protobuf:"bytes,3,opt,name=service_name,json=serviceName,proto3"`
	Pod         string `protobuf:"bytes,4,opt,name=pod,proto3"`
}

// TLSAssertions are what the server saw of the connection's TLS.
type TLSAssertions struct {
	Version            string   `protobuf:"bytes,1,opt,name=version,proto3"`
	NegotiatedProtocol string   `protobuf:"bytes,2,opt,name=negotiated_protocol,json=negotiatedProtocol,proto3"`
	ServerName         string   `protobuf:"bytes,3,opt,name=server_name,json=serverName,proto3"`
	CipherSuite        string   `protobuf:"bytes,4,opt,name=cipher_suite,json=cipherSuite,proto3"`
	PeerCertificates   []string `protobuf:"bytes,5,rep,name=peer_certificates,json=peerCertificates,proto3"`
}

// Assertions are what the server saw of a call.
type Assertions struct {
	FullyQualifiedMethod string         `protobuf:"bytes,1,opt,name=fully_qualified_method,json=fullyQualifiedMethod,proto3"`
	Headers              []*Header      `protobuf:"bytes,2,rep,name=headers,proto3"`
	Authority            string         `protobuf:"bytes,3,opt,name=authority,proto3"`
	Context              *Context       `protobuf:"bytes,4,opt,name=context,proto3"`
	TlsAssertions        *TLSAssertions `protobuf:"bytes,5,opt,name=tls_assertions,json=tlsAssertions,proto3"`
}

// EchoRequest has no fields.
type EchoRequest struct{}

// EchoResponse is the answer to every method.
type EchoResponse struct {
	Assertions *Assertions  `protobuf:"bytes,1,opt,name=assertions,proto3"`
	Request    *EchoRequest `protobuf:"bytes,2,opt,name=request,proto3"`
}

func (m *Header) Reset()        { *m = Header{} }
func (m *Context) Reset()       { *m = Context{} }
func (m *TLSAssertions) Reset() { *m = TLSAssertions{} }
func (m *Assertions) Reset()    { *m = Assertions{} }
func (m *EchoRequest) Reset()   { *m = EchoRequest{} }
func (m *EchoResponse) Reset()  { *m = EchoResponse{} }

func (*Header) ProtoMessage()        {}
func (*Context) ProtoMessage()       {}
func (*TLSAssertions) ProtoMessage() {}
func (*Assertions) ProtoMessage()    {}
func (*EchoRequest) ProtoMessage()   {}
func (*EchoResponse) ProtoMessage()  {}

func (*Header) XXX_MessageName() string        { return pkg + "Header" }
func (*Context) XXX_MessageName() string       { return pkg + "Context" }
func (*TLSAssertions) XXX_MessageName() string { return pkg + "TLSAssertions" }
func (*Assertions) XXX_MessageName() string    { return pkg + "Assertions" }
func (*EchoRequest) XXX_MessageName() string   { return pkg + "EchoRequest" }
func (*EchoResponse) XXX_MessageName() string  { return pkg + "EchoResponse" }

func (m *Header) String() string        { return fmt.Sprintf("%s:%q", m.Key, m.Value) }
func (m *Context) String() string       { return fmt.Sprintf("%+v", *m) }
func (m *TLSAssertions) String() string { return fmt.Sprintf("%+v", *m) }
func (*EchoRequest) String() string     { return "{}" }
func (m *Assertions) String() string {
	return fmt.Sprintf("{method:%s authority:%s headers:%v context:%v tls:%v}", m.FullyQualifiedMethod, m.Authority, m.Headers, m.Context, m.TlsAssertions)
}

func (m *EchoResponse) String() string {
	if m == nil {
		return "<nil>"
	}
	return fmt.Sprintf("{assertions:%v}", m.Assertions)
}

func (m *EchoResponse) GetAssertions() *Assertions {
	if m == nil {
		return nil
	}
	return m.Assertions
}

func (m *Assertions) get() Assertions {
	if m == nil {
		return Assertions{}
	}
	return *m
}

func (m *Assertions) GetFullyQualifiedMethod() string  { return m.get().FullyQualifiedMethod }
func (m *Assertions) GetHeaders() []*Header            { return m.get().Headers }
func (m *Assertions) GetAuthority() string             { return m.get().Authority }
func (m *Assertions) GetContext() *Context             { return m.get().Context }
func (m *Assertions) GetTlsAssertions() *TLSAssertions { return m.get().TlsAssertions }

func (m *Context) get() Context {
	if m == nil {
		return Context{}
	}
	return *m
}

func (m *Context) GetNamespace() string   { return m.get().Namespace }
func (m *Context) GetIngress() string     { return m.get().Ingress }
func (m *Context) GetServiceName() string { return m.get().ServiceName }
func (m *Context) GetPod() string         { return m.get().Pod }

func (m *Header) GetKey() string {
	if m == nil {
		return ""
	}
	return m.Key
}

func (m *Header) GetValue() string {
	if m == nil {
		return ""
	}
	return m.Value
}

func (m *TLSAssertions) GetServerName() string {
	if m == nil {
		return ""
	}
	return m.ServerName
}

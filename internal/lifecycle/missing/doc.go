// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package missing finds pods that ask for a proxy and run without one, and
// says which of them are to be made anew now.
//
// There are such pods where the label came after them, or where the webhook
// was not called when they were made. It is pure: it is given pods and
// namespaces, and must not know how they are read or evicted. Who asks for a
// proxy is the same rule as in the control plane's injection, which decides
// for pods that are to come.
//
// Invariant: nothing is chosen that would not come back by itself, or that
// just came back as it was. Start at In.
package missing

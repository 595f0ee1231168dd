// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package source

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"
	"unsafe"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// authority makes a certificate that ends at a time.
func authority(t testing.TB, name string, end time.Time) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: end.Add(-time.Hour), NotAfter: end,
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func configMap(namespace string, data map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "ca"}, Data: data}
}

// TestCABundle: only ConfigMaps with the key are kept, only certificates in them, and what is wrong is
// told without quoting them.
func TestCABundle(t *testing.T) {
	a, b := authority(t, "a", time.Now().Add(time.Hour)), authority(t, "b", time.Now().Add(time.Hour))
	expired := authority(t, "old", time.Now().Add(-time.Hour))
	key := "-----BEGIN EC PRIVATE KEY-----\nc2VjcmV0\n-----END EC PRIVATE KEY-----\n"
	broken := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("hello")}))
	for name, c := range map[string]struct {
		data    map[string]string
		kept    bool
		want    string
		problem string
	}{
		"no data":                               {nil, false, "", ""},
		"other keys":                            {map[string]string{"ca.pem": a}, false, "", ""},
		"one":                                   {map[string]string{"ca.crt": a}, true, a, ""},
		"two":                                   {map[string]string{"ca.crt": a + b}, true, a + b, ""},
		"comments between":                      {map[string]string{"ca.crt": "# a\n" + a + "\n# b\n" + b + "# end"}, true, a + b, ""},
		"expired is kept":                       {map[string]string{"ca.crt": expired + a}, true, expired + a, ""},
		"empty":                                 {map[string]string{"ca.crt": ""}, true, "", "no PEM certificate"},
		"no PEM":                                {map[string]string{"ca.crt": "hello"}, true, "", "no PEM certificate"},
		"cut":                                   {map[string]string{"ca.crt": a[:len(a)/2]}, true, "", "no PEM certificate"},
		"a private key":                         {map[string]string{"ca.crt": a + key}, true, "", "ec private key"},
		"not a certificate":                     {map[string]string{"ca.crt": broken}, true, "", "certificate 1"},
		"larger than all authorities there are": {map[string]string{"ca.crt": a + strings.Repeat("#\n", 300_000)}, true, "", "larger than 512 KiB"},
		"the second is none":                    {map[string]string{"ca.crt": a + broken}, true, "", "certificate 2"},
	} {
		t.Run(name, func(t *testing.T) {
			got, kept := CABundleFrom(configMap("shop", c.data))
			if kept != c.kept || got.Certificates() != c.want {
				t.Errorf("kept %v, certificates %q", kept, got.Certificates())
			}
			if (c.problem == "") != (got.Problem == "") || !strings.Contains(got.Problem, c.problem) {
				t.Errorf("problem %q, want %q", got.Problem, c.problem)
			}
			if strings.Contains(got.Problem, "c2VjcmV0") {
				t.Errorf("problem %q quotes the ConfigMap", got.Problem)
			}
		})
	}
}

// TestCABundleOnce: the same certificates in every namespace are held once, and compare as equal.
func TestCABundleOnce(t *testing.T) {
	text := authority(t, "a", time.Now().Add(time.Hour))
	one, _ := CABundleFrom(configMap("a", map[string]string{"ca.crt": strings.Clone(text)}))
	two, _ := CABundleFrom(configMap("b", map[string]string{"ca.crt": strings.Clone(text)}))
	if unsafe.StringData(one.Certificates()) != unsafe.StringData(two.Certificates()) {
		t.Error("the certificates are held twice")
	}
	two.Namespace = "a"
	if !reflect.DeepEqual(one, two) {
		t.Error("bundles of the same content differ")
	}
	other, _ := CABundleFrom(configMap("a", map[string]string{"ca.crt": authority(t, "b", time.Now().Add(time.Hour))}))
	if reflect.DeepEqual(one, other) {
		t.Error("bundles of other content are equal")
	}
}

// TestTrustBundle: a ClusterTrustBundle is read as a ConfigMap is, has no namespace, and what is wrong names its
// field.
func TestTrustBundle(t *testing.T) {
	text := authority(t, "a", time.Now().Add(time.Hour))
	bundle := func(text string) CABundle {
		return TrustBundleFrom(&certificatesv1.ClusterTrustBundle{
			ObjectMeta: metav1.ObjectMeta{Name: "example.com:ca:1"}, Spec: certificatesv1.ClusterTrustBundleSpec{TrustBundle: text},
		})
	}
	if got := bundle(text); got.Key.Namespace != "" || got.Key.Name != "example.com:ca:1" || got.Problem != "" || got.Certificates() != text {
		t.Errorf("%+v", got)
	}
	if got := bundle("nothing"); !strings.Contains(got.Problem, "spec.trustBundle") || got.Certificates() != "" {
		t.Errorf("%+v", got)
	}
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package simulate

import (
	"fmt"
	"strings"

	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	rbacfilterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
)

// denied tells whether a filter refuses a request for its path, whoever asks.
func denied(h *hcmv3.HttpConnectionManager, req Request) (bool, error) {
	path, _, _ := strings.Cut(req.Path, "?")
	for _, f := range h.GetHttpFilters() {
		if f.GetName() != "envoy.filters.http.rbac" {
			continue
		}
		filter := &rbacfilterv3.RBAC{}
		if err := f.GetTypedConfig().UnmarshalTo(filter); err != nil {
			return false, fmt.Errorf("filter %s: %w", f.GetName(), err)
		}
		if a := filter.GetRules().GetAction(); a != rbacv3.RBAC_DENY {
			return false, fmt.Errorf("filter %s: unknown action %v", f.GetName(), a)
		}
		for name, p := range filter.GetRules().GetPolicies() {
			if len(p.GetPrincipals()) != 1 || !p.GetPrincipals()[0].GetAny() {
				return false, fmt.Errorf("filter %s: policy %s is not for everybody", f.GetName(), name)
			}
			for _, permission := range p.GetPermissions() {
				part := permission.GetUrlPath().GetPath().GetContains()
				if part == "" {
					return false, fmt.Errorf("filter %s: unknown permission %v", f.GetName(), permission)
				}
				if strings.Contains(path, part) {
					return true, nil
				}
			}
		}
	}
	return false, nil
}

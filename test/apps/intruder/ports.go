// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"tulle.dev/tulle/test/attack"
)

// attackPorts runs the attacks on the ports of -at; -attack may choose one of them.
func attackPorts(o options) (map[string]attack.Done, error) {
	if o.rate < 1 || o.connections < 1 || o.held < 1 {
		return nil, errors.New("-rate, -connections and -held must be positive")
	}
	var ports []attack.Port
	for address := range strings.SplitSeq(o.at, ",") {
		p, err := attack.At(address)
		if err != nil {
			return nil, err
		}
		if o.attack != "" {
			p.Attacks = slices.DeleteFunc(p.Attacks, func(a attack.Attack) bool { return a.Name != o.attack })
		}
		if len(p.Attacks) == 0 {
			return nil, fmt.Errorf("there is no attack %q on %s", o.attack, address)
		}
		ports = append(ports, p)
	}
	return attack.Run(context.Background(), attack.Options{For: o.last, Rate: o.rate, Connections: o.connections, Held: o.held}, ports...), nil
}

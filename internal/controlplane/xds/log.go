// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package xds

import (
	"net"
	"sync"
)

// What clients cause must not fill a disk, and what one causes must not keep what others cause out of the
// log.
const (
	linesInAll = 50 // a second
	linesEach  = 3  // a second, of one owner or one address
)

// logLimit counts the lines of one second. The zero value is ready.
type logLimit struct {
	mu     sync.Mutex
	second int64
	lines  int
	byKey  map[any]int
}

// allow tells whether what key causes may be logged now.
func (l *logLimit) allow(key any, second int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.second != second {
		l.second, l.lines = second, 0
		clear(l.byKey)
	}
	if l.lines >= linesInAll || l.byKey[key] >= linesEach {
		return false
	}
	if l.byKey == nil {
		l.byKey = map[any]int{}
	}
	l.lines++
	l.byKey[key]++
	return true
}

func (s *Server) log(key any, line func()) {
	if s.lines.allow(key, s.now().Unix()) {
		line()
	}
}

// host is an address without its port.
func host(address string) string {
	if h, _, err := net.SplitHostPort(address); err == nil {
		return h
	}
	return address
}

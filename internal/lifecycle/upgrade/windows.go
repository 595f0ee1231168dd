// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package upgrade

import (
	"slices"
	"time"

	"tulle.dev/tulle/api/v1alpha1"
)

// open tells whether proxies may be replaced now. A window of an unknown time zone is never open;
// CheckWindows tells of it.
func open(windows []v1alpha1.Window, now time.Time) bool {
	if len(windows) == 0 {
		return true
	}
	return slices.ContainsFunc(windows, func(w v1alpha1.Window) bool {
		zone, err := time.LoadLocation(w.TimeZone)
		if err != nil {
			return false
		}
		start, err := time.Parse("15:04", w.Start)
		if err != nil {
			return false
		}
		local := now.In(zone)
		// It may have begun on an earlier day.
		for back := 0; back <= 1+int(w.Duration.Hours()/24); back++ {
			day := local.AddDate(0, 0, -back)
			began := time.Date(day.Year(), day.Month(), day.Day(), start.Hour(), start.Minute(), 0, 0, zone)
			if len(w.Days) > 0 && !slices.Contains(w.Days, v1alpha1.Day(began.Weekday().String())) {
				continue
			}
			if !local.Before(began) && local.Before(began.Add(w.Duration.Duration)) {
				return true
			}
		}
		return false
	})
}

// CheckWindows says which window can't be understood; empty: all can.
func CheckWindows(windows []v1alpha1.Window) string {
	for _, w := range windows {
		if _, err := time.LoadLocation(w.TimeZone); err != nil {
			return "spec.upgrade.windows: there is no time zone " + w.TimeZone + "; write one of the IANA database such as Europe/Prague, or leave timeZone out for UTC"
		}
	}
	return ""
}

package main

import (
	"testing"

	"weir/configs"
)

// TestDeviceProfiles: what the file says goes before what is assumed of a class, and mistakes are told at once.
func TestDeviceProfiles(t *testing.T) {
	t.Parallel()
	if d, err := devices(configs.Devices{}, false); d != nil || err != nil {
		t.Errorf("off: got %v, %v", d, err)
	}
	for _, on := range []struct{ enabled, pages bool }{{true, false}, {false, true}} {
		if d, err := devices(configs.Devices{Enabled: on.enabled, Profiles: []configs.Profile{{Class: "car", Height: 480, Ranges: []string{"sdr"}, Order: "stored"}}}, on.pages); d == nil || err != nil {
			t.Errorf("on: got %v, %v", d, err)
		}
	}
	for _, p := range []configs.Profile{{Class: "x", Codecs: []string{"a b"}}, {Class: "x", DRM: []string{"mine"}}, {Class: "x", Prefer: []string{""}}, {Class: "X"}} {
		if _, err := devices(configs.Devices{Enabled: true, Profiles: []configs.Profile{p}}, false); err == nil {
			t.Errorf("%+v is taken", p)
		}
	}
}

package main

import (
	"weir/configs"
	"weir/edge"
	"weir/edge/manifest"
)

// devices makes the profiles of a site's device classes; nil: its manifests are as they are stored.
func devices(config configs.Devices, pages bool) (*edge.Devices, error) {
	if !config.Enabled && !pages {
		return nil, nil
	}
	profiles := map[string]manifest.Limits{}
	for _, class := range manifest.Classes() {
		profiles[class], _ = manifest.Profile(class)
	}
	for _, c := range config.Profiles {
		own := manifest.Limits{
			Codecs: c.Codecs, Height: c.Height, FrameRate: c.FrameRate, Bitrate: int64(c.Bitrate), MeteredBitrate: int64(c.MeteredBitrate),
			Channels: c.Channels, DRM: c.DRM, AudioOnly: c.AudioOnly, Prefer: c.Prefer, Start: int64(c.Start),
		}
		for _, name := range c.Ranges {
			own.Ranges |= map[string]manifest.Range{"sdr": manifest.SDR, "hlg": manifest.HLG, "pq": manifest.PQ}[name]
		}
		limits := profiles[c.Class]
		if c.Order != "" {
			limits.Order = map[string]manifest.Order{"lowest": manifest.LowestFirst, "highest": manifest.HighestFirst}[c.Order]
		}
		profiles[c.Class] = limits.With(own)
	}
	return edge.NewDevices(profiles)
}

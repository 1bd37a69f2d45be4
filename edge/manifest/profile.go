package manifest

// Classes are the device classes that have a profile.
func Classes() []string { return []string{"tv", "car", "phone", "web"} }

// Profile is what is assumed of a device class when nothing else is said; ok is false where there is none of that name.
//
//	class  codecs                    lines  fps  Mbit/s        range  audio        order
//	tv     all but VP8               2160    60  any           all    16 channels  HEVC, AV1, then others; HDR, surround, highest first
//	car    H.264, AAC                 720    30  3             SDR    stereo       lowest first, starts at 0.8
//	phone  H.264, HEVC, AV1, VP9;    1080    60  2 if metered  all    6 channels   starts at 1.5
//	       AAC, Opus, E-AC-3, AC-3
//	web    any                       any    any  any           any    any          as stored: the page knows what it plays
//
// The numbers are what devices sold in the last five years have in common; an operator who knows the own viewers better
// says so in the configuration.
func Profile(class string) (l Limits, ok bool) {
	switch class {
	case "tv":
		return Limits{
			Codecs: []string{"h264", "hevc", "av1", "vp9", "dolby-vision", "aac", "ac3", "eac3", "ac4", "opus", "flac", "mp3"},
			Height: 2160, FrameRate: 60, Channels: 16,
			Order: HighestFirst, Prefer: []string{"hevc", "av1"}, HDRFirst: true, SurroundFirst: true,
		}, true
	case "car":
		return Limits{
			Codecs: []string{"h264", "aac"}, Height: 720, FrameRate: 30, Bitrate: 3_000_000, Ranges: SDR, Channels: 2,
			Order: LowestFirst, Start: 800_000,
		}, true
	case "phone":
		return Limits{
			Codecs: []string{"h264", "hevc", "av1", "vp9", "dolby-vision", "aac", "eac3", "ac3", "opus"},
			Height: 1080, FrameRate: 60, MeteredBitrate: 2_000_000, Channels: 6, Start: 1_500_000,
		}, true
	case "web":
		return Limits{}, true
	}
	return Limits{}, false
}

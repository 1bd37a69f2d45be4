package configs

import (
	"net/url"
	"strconv"
	"strings"
	"time"
)

// sdk finds what is wrong with the endpoints for players.
func (v *validator) sdk(path string, s *SDK) {
	for i, a := range s.Assets {
		at := itemPath(path+".assets", i)
		if a.Match == "" {
			v.bad(at+".match", a.Match, "the rule fits no title", `write match: "*" for all`)
			v.placeAt(at)
		}
		if a.HLS == "" && a.DASH == "" {
			v.bad(at+".hls", a.HLS, "the rule names no manifest", "write hls: /vod/{asset}/master.m3u8, or dash")
			v.placeAt(at)
		}
		for key, value := range map[string]string{"hls": a.HLS, "dash": a.DASH} {
			if value != "" && !strings.HasPrefix(value, "/") {
				v.bad(at+"."+key, value, strconv.Quote(value)+" is no path", "begin it with a slash")
			}
		}
		for system, license := range a.Licenses {
			if u, err := url.Parse(license); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
				v.bad(at+".licenses", a.Licenses, "the license server of "+system+", "+strconv.Quote(license)+", is no URL", "begin it with https://")
			}
		}
		if a.Viewers < 0 {
			v.bad(at+".viewers", a.Viewers, "is negative", "write a number of viewers, or 0 for no limit")
		}
	}
	if s.Heartbeat != 0 && (s.Heartbeat.D() < 5*time.Second || s.Heartbeat.D() > 35*time.Second) {
		v.bad(path+".heartbeat", s.Heartbeat, s.Heartbeat.String()+" is not from 5s to 35s", "write heartbeat: 30s: a lease of 75s leaves a second chance")
	}
	if s.Downloads.PerAccount < 0 {
		v.bad(path+".downloads.per_account", s.Downloads.PerAccount, "is negative", "write a number of downloads, or 0 for no limit")
	}
	if s.Accounts.Streams < 0 {
		v.bad(path+".accounts.streams", s.Accounts.Streams, "is negative", "write a number of sessions, or 0 for no limit")
	}
	if s.Accounts.Streams > 0 && s.Accounts.KeysFile == "" {
		v.bad(path+".accounts.streams", s.Accounts.Streams, "counts sessions of accounts, and nobody has one", "name the keys of viewers' tokens in accounts.keys_file")
	}
	v.steering(path+".steering", &s.Steering)
	for name, rate := range map[string]RequestRate{"network": s.Limits.Network, "account": s.Limits.Account} {
		if at := path + ".limits." + name; !(rate.Requests >= 0 && rate.Requests <= 1e9) { // also when it is no number
			v.bad(at+".requests", rate.Requests, "is not from 0 to 1000000000", "write requests per second, or 0 for the default")
		} else if rate.Burst < 0 || rate.Burst > 1e9 {
			v.bad(at+".burst", rate.Burst, "is not from 0 to 1000000000", "write a number of requests, or 0 for those of ten seconds")
		} else if rate.Burst > 0 && rate.Requests == 0 {
			v.bad(at+".burst", rate.Burst, "says nothing without a rate", "write requests beside it, per second")
		}
	}
}

package main

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"weir/tools/proof"
)

// TestSteeringQuestions: what players ask with names the edge that they load from, and what they measure there; and one of these
// questions that says that the player ran dry is answered with another edge. Of the players that report (CMCD), dash.js alone does
// with its questions.
func TestSteeringQuestions(t *testing.T) { //nolint:tparallel // its plays share the machine with each other alone
	proof.RequireTool(t, "chromium", "chromium")
	s := startSteered(t, 3, settings{site: steeredSettings.site})
	names := map[string]string{}
	for _, e := range s.edges {
		names[e.https] = e.name
	}
	for _, tt := range steeredPlayers {
		t.Run(tt.player+" "+tt.format, func(t *testing.T) {
			alongside(t)
			result := browse(t, map[string]any{
				"url": playAt(t, s.edges[0].https, "demo").Manifests[tt.format], "player": tt.player, "config": withCMCD(tt.player, tt.config),
				"seconds": 12, "timeout": 90, "quic": "off", "spki": s.spki, "maxStalls": -1, // for more than one question with a throughput
			}, nil)
			here := names[result.lastHost("segment")]
			kind, asked, reports := strings.ToUpper(tt.format), 0, 0
			var last *url.URL
			for _, r := range result.Requests {
				u, err := url.Parse(r.URL)
				if err != nil {
					t.Fatal(err)
				}
				query := u.Query()
				if r.Kind == "segment" && query.Has("CMCD") {
					reports++
				}
				if r.Kind != "steering" || !query.Has("_"+kind+"_pathway") {
					continue
				}
				// dash.js lists, within quotes, what it has used since it asked last.
				ways := strings.Split(strings.Trim(query.Get("_"+kind+"_pathway"), `"`), ",")
				rates := strings.Split(query.Get("_"+kind+"_throughput"), ",")
				if way := ways[len(ways)-1]; !slices.Contains(slices.Collect(maps.Values(names)), way) || len(rates) != len(ways) {
					t.Errorf("it asks from %v, with %v", ways, rates)
				}
				if rate, err := strconv.ParseInt(rates[len(rates)-1], 10, 64); err == nil && rate > 0 {
					asked++
				}
				last = u
				if tt.player == "dash.js" != query.Has("CMCD") {
					t.Errorf("the CMCD of its question: %q", query.Get("CMCD"))
				}
			}
			if asked == 0 || reports == 0 {
				t.Fatalf("%d questions told a throughput, %d segments were asked for with CMCD", asked, reports)
			}
			if ways := steeredTo(t, last.String()); ways[0] != here {
				t.Errorf("who loads from %s is sent to %v", here, ways)
			}
			dry := last.Query()
			dry.Set("CMCD", strings.TrimPrefix(dry.Get("CMCD")+",bs", ","))
			last.RawQuery = dry.Encode()
			if ways := steeredTo(t, last.String()); ways[0] == here || !slices.Contains(ways, here) {
				t.Errorf("who ran dry at %s is sent to %v", here, ways)
			}
		})
	}
}

// withCMCD has a player report with each request, in its query.
func withCMCD(player string, config map[string]any) map[string]any {
	config = maps.Clone(config)
	const id = "6e2fb550-c457-11e9-bb97-0800200c9a66"
	switch player {
	case "hls.js":
		config["cmcd"] = map[string]any{"sessionId": id, "contentId": "demo"}
	case "shaka":
		config["cmcd"] = map[string]any{"enabled": true, "sessionId": id, "contentId": "demo", "useHeaders": false}
	case "dash.js":
		streaming := maps.Clone(config["streaming"].(map[string]any))
		streaming["cmcd"] = map[string]any{"enabled": true, "sid": id, "cid": "demo", "mode": "query", "includeInRequests": []string{"segment", "mpd", "steering"}}
		config["streaming"] = streaming
	}
	return config
}

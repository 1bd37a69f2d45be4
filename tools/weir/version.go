package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is the release; a release build sets it with -ldflags "-X main.version=v1.2.3".
var version = "dev"

// versionCommand prints what is running.
type versionCommand struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// build is what weir version tells.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"` // of the source, where the build knows it
	Modified bool   `json:"modified,omitempty"` // the source had changes over Revision
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// Run prints the build.
func (c *versionCommand) Run(std streams) error {
	b := thisBuild()
	if c.JSON {
		return json.NewEncoder(std.out).Encode(b)
	}
	fmt.Fprintf(std.out, "weir %s", b.Version)
	if b.Revision != "" {
		fmt.Fprintf(std.out, " (%.12s)", b.Revision)
	}
	fmt.Fprintf(std.out, " %s %s\n", b.Go, b.Platform)
	return nil
}

func thisBuild() build {
	b := build{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

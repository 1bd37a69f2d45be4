package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/configs"
	"weir/tools/proof"
)

// TestQlog: a node traces its HTTP/3 connections into log.qlog, within log.qlog_size, and a reload turns that on and off; a
// folder that cannot be had changes nothing, or stops the start.
func TestQlog(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "qlog")
	s := newSocketNode(t)
	reload := func(log configs.Log) error {
		config := *s.config
		config.Log = log
		s.node.options.load = func() (*configs.Config, error) { return &config, nil }
		return s.reload(t.Context())
	}
	download := func(path string) {
		t.Helper()
		c, url := s.client(t, way{"h3", proof.H3, true}) // a connection for each
		defer c.Close()
		if r := c.Get(t.Context(), url+path, proof.Options{Truth: "127.0.0.1"}); r.Err != nil || r.Status != http.StatusOK || r.Body != proof.BodyOK {
			t.Fatalf("status %d, body %s, %v", r.Status, r.Body, r.Err)
		}
	}
	files := func() (names []string) {
		t.Helper()
		names, err := filepath.Glob(filepath.Join(dir, "*.sqlog"))
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	if download("/o/64KiB/0"); len(files()) != 0 {
		t.Error("a trace that nobody asked for")
	}
	log := configs.Log{Level: "info", Format: "text", Access: "off", Qlog: dir, QlogSize: configs.MiB}
	if err := reload(log); err != nil {
		t.Fatal(err)
	}
	if last := s.reloads.last.Load(); strings.Join(last.changed, " ") != "log.qlog log.qlog_size" || len(last.wait) > 0 {
		t.Errorf("changed %q, for the next start %q", last.changed, last.wait)
	}
	download("/o/64KiB/1")
	names := files()
	if len(names) != 1 {
		t.Fatalf("%q, want one file", names)
	}
	for end := time.Now().Add(time.Minute); ; { // until the connection has ended
		b, err := os.ReadFile(names[0])
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte("connection_closed")) && wellFormed(t, b) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d bytes: %.500s", len(b), b)
		}
	}
	for i := range 12 { // a download of 4 MiB is some 300 KiB of trace
		download(fmt.Sprintf("/o/4MiB/%d", i))
		var size int64
		for _, name := range files() {
			if about, err := os.Stat(name); err == nil { // it may be gone
				size += about.Size()
			}
		}
		if size > int64(configs.MiB) {
			t.Errorf("%d bytes in %d files, want at most %d", size, len(files()), configs.MiB)
		}
	}
	if _, err := os.Stat(names[0]); err == nil {
		t.Errorf("the oldest is there still, of %d", len(files()))
	}
	bad := log
	bad.Qlog = filepath.Join(s.config.Node.Dir, "admin.token")
	if err := reload(bad); err == nil || !strings.Contains(err.Error(), "log.qlog: ") || !strings.Contains(err.Error(), bad.Qlog) {
		t.Errorf("a folder that cannot be made: %v", err)
	}
	before := files()
	download("/o/64KiB/2")
	if now := files(); slices.Equal(now, before) {
		t.Errorf("%q: a reload that failed turned it off", now)
	}
	log.Qlog = ""
	if err := reload(log); err != nil {
		t.Fatal(err)
	}
	before = files()
	if download("/o/64KiB/3"); !slices.Equal(files(), before) {
		t.Errorf("%q, then %q: it is off", before, files())
	}
}

// wellFormed tells whether b is a sequence of JSON texts (RFC 7464).
func wellFormed(t *testing.T, b []byte) bool {
	t.Helper()
	for i, record := range bytes.Split(b, []byte{0x1e}) {
		if i > 0 && !json.Valid(record) {
			return false
		}
	}
	return len(b) > 0 && b[0] == 0x1e
}

// TestQlogFolderAtStart: a node does not start where it could not write what it is to write.
func TestQlogFolderAtStart(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "weir.yaml")
	text := "node: {name: e, dir: " + t.TempDir() + "}\nlisten: {http: \"127.0.0.1:0\", https: \"127.0.0.1:0\", admin: \"127.0.0.1:0\"}\n" +
		"log: {qlog: " + file + "}\nsites: [{hosts: [\"*\"], origins: [\"http://127.0.0.1:1\"]}]\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startWeir(t, "edge", "-c", config)
	p.await(t, `(log\.qlog: .*`+file+`.*)`)
}

package cluster

import (
	"context"
	"log"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// Anybody can send packets that are not ours, and the gossip library has a line for each: past this many lines at
	// warn in a second the rest is only counted.
	maxWarnings = 10

	maxLogLine = 400
)

// gossipLog passes the gossip library's own log lines to slog, errors and warnings as warnings, everything else at debug.
// It also counts the lines that tell of messages from strangers, since the library reports them nowhere else.
type gossipLog struct {
	log       *slog.Logger
	strangers *atomic.Int64
	warnings  limiter
}

func newGossipLog(l *slog.Logger, strangers *atomic.Int64) *log.Logger {
	return log.New(&gossipLog{log: l, strangers: strangers}, "", 0)
}

// Write takes one line, as log.Logger gives it.
func (g *gossipLog) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	level := slog.LevelDebug
	if rest, ok := strings.CutPrefix(text, "["); ok {
		word, after, _ := strings.Cut(rest, "]")
		if word == "ERR" || word == "WARN" {
			level = slog.LevelWarn
		}
		text = strings.TrimSpace(after)
	}
	text = strings.TrimPrefix(text, "memberlist: ")
	if isStranger(text) {
		g.strangers.Add(1)
	}
	if level == slog.LevelWarn && !g.warnings.allow(time.Now(), maxWarnings) {
		return len(line), nil
	}
	if len(text) > maxLogLine {
		text = text[:maxLogLine] + "…"
	}
	g.log.Log(context.Background(), level, "memberlist says", "text", text)
	return len(line), nil
}

// isStranger recognises the library's words for a message with another label, another key or none.
func isStranger(text string) bool {
	for _, words := range []string{
		"with unacceptable label", "Decrypt packet failed", "failed to receive and remove the stream label",
		"remote state is not encrypted", "remote state is encrypted", "could decrypt the message",
		"message authentication failed",
	} {
		if strings.Contains(text, words) {
			return true
		}
	}
	return false
}

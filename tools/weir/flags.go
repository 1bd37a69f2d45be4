package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"weir/cluster"
	"weir/configs"
)

// loadConfig reads the file of -c, or gives the defaults.
func loadConfig(file string) (*configs.Config, error) {
	if file == "" {
		return configs.Default(), nil
	}
	c, err := configs.Load(file)
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}

// newLog writes the node's log as its configuration says; threshold is set, and may be changed.
func newLog(c configs.Log, threshold *slog.LevelVar, std streams) *slog.Logger {
	threshold.Set(level(c.Level))
	options := &slog.HandlerOptions{Level: threshold}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(std.err, options))
	}
	return slog.New(slog.NewTextHandler(std.err, options))
}

func level(name string) slog.Level {
	var l slog.Level
	if l.UnmarshalText([]byte(name)) != nil {
		return slog.LevelInfo
	}
	return l
}

// openKeyring is nil when no file is named. The keyring follows the file.
func openKeyring(c configs.Cluster, log *slog.Logger) (*cluster.Keyring, error) {
	file := c.SecretFile
	if file == "" {
		return nil, nil
	}
	keyring, err := cluster.NewKeyring(cluster.KeyringOptions{
		Read: func() ([]byte, error) { return os.ReadFile(file) }, Interval: c.Timers.Secret.D(), Log: log.With("file", file),
	})
	if err != nil {
		return nil, usageError{fmt.Errorf("read the cluster secret from %s: %w", file, err)}
	}
	return keyring, nil
}

// makeDir creates the state directory of a node and finds out at once whether
// it can be written to.
func makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return usageError{fmt.Errorf("make the state directory: %w: choose another one with --dir", err)}
	}
	probe, err := os.CreateTemp(dir, ".writable-*")
	if err != nil {
		if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrInvalid) {
			err = fs.ErrPermission
		}
		return usageError{fmt.Errorf("the state directory %s cannot be written to (%w): choose another one with --dir", dir, err)}
	}
	probe.Close()
	return os.Remove(probe.Name())
}

// defaultDir is where a node keeps its state when nothing is said: the user's
// cache directory, or /var/lib/weir for root.
func defaultDir(name string) string {
	if os.Getuid() == 0 {
		return filepath.Join("/var/lib/weir", name)
	}
	if dir, err := os.UserCacheDir(); err == nil {
		return filepath.Join(dir, "weir", name)
	}
	return filepath.Join(os.TempDir(), "weir-"+name)
}

// hostName is the machine's name as a node name: letters, digits and '-'.
func hostName() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "edge"
	}
	name, _, _ = strings.Cut(strings.ToLower(name), ".")
	return strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}, name), "-")
}

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"weir/configs"
	"weir/origin"
	"weir/origin/asset"
)

// originCommand serves titles as streams.
type originCommand struct {
	Config string `name:"config" short:"c" help:"Configuration file; see weir config." placeholder:"FILE"`
	Root   string `help:"Folder whose folders of MP4 renditions are titles. Without one only the sample title is served." placeholder:"DIR"`
	HTTP   string `name:"http" help:"Address to serve on." placeholder:"ADDR"`
}

// Run serves until a signal.
func (c *originCommand) Run(ctx context.Context, std streams) error {
	config, err := loadConfig(c.Config)
	if err != nil {
		return err
	}
	if c.Root != "" {
		config.Origin.Root = c.Root
	}
	if c.HTTP != "" {
		config.Origin.HTTP = c.HTTP
	}
	log := newLog(config.Log, &slog.LevelVar{}, std)
	server, err := newOriginServer(config.Origin, "--http", log)
	if err != nil {
		return err
	}
	log.Info("origin is up", "http", server.address(), "root", config.Origin.Root)
	server.report(ctx, log)
	return server.run(ctx, config.Listen.DrainTimeout.D())
}

// originServer is a listening origin.
type originServer struct {
	*plainServer

	handler *origin.Origin
	titles  *asset.Dir // nil when only the sample is served
}

// newOriginServer binds the address, which flag can change; run serves.
func newOriginServer(c configs.Origin, flag string, log *slog.Logger) (*originServer, error) {
	s := &originServer{}
	titles := asset.Demo()
	if c.Root != "" {
		dir, err := asset.Directory(c.Root)
		if err != nil {
			return nil, usageError{fmt.Errorf("--root %s: %w", c.Root, err)}
		}
		s.titles, titles = dir, asset.Join(dir, titles)
	}
	var err error
	if s.handler, err = origin.New(origin.Options{Titles: titles, Log: log}); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", c.HTTP) //nolint:noctx // binding does not wait
	if err != nil {
		return nil, usageError{fmt.Errorf("listen on %s: %w: stop the other program or choose another address with %s", c.HTTP, rootCause(err), flag)}
	}
	s.plainServer = newPlainServer(listener, s.handler, log)
	return s, nil
}

func (s *originServer) address() string { return s.listener.Addr().String() }

func (s *originServer) run(ctx context.Context, drain time.Duration) error {
	err := s.plainServer.run(ctx, drain)
	if s.titles != nil {
		err = errors.Join(err, s.titles.Close())
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// report logs what is served and what cannot be, once, at the start.
func (s *originServer) report(ctx context.Context, log *slog.Logger) {
	titles, err := s.handler.Titles(ctx)
	if err != nil {
		log.Warn("the titles cannot be listed", "error", err)
		return
	}
	for _, t := range titles {
		if t.Problem != "" {
			log.Warn("title cannot be served", "title", t.Name, "problem", t.Problem)
			continue
		}
		log.Info("title", "name", t.Name, "hls", t.HLS, "dash", t.DASH)
	}
}

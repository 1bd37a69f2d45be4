package front

import (
	"context"
	"log/slog"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// zapLogger makes certmagic, which knows no other, write to our log. What it calls info
// are its steps, which are ours to debug.
func zapLogger(log *slog.Logger) *zap.Logger { return zap.New(zapCore{log}) }

type zapCore struct{ log *slog.Logger }

// Enabled implements zapcore.Core.
func (c zapCore) Enabled(level zapcore.Level) bool {
	return c.log.Enabled(context.Background(), slogLevel(level))
}

// With implements zapcore.Core.
func (c zapCore) With(fields []zapcore.Field) zapcore.Core {
	return zapCore{c.log.With(slogArgs(fields)...)}
}

// Check implements zapcore.Core.
func (c zapCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(entry.Level) {
		return checked.AddCore(entry, c)
	}
	return checked
}

// Write implements zapcore.Core.
func (c zapCore) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	c.log.Log(context.Background(), slogLevel(entry.Level), "certificates by ACME", append([]any{"step", entry.Message}, slogArgs(fields)...)...)
	return nil
}

// Sync implements zapcore.Core.
func (c zapCore) Sync() error { return nil }

func slogLevel(level zapcore.Level) slog.Level {
	switch {
	case level >= zapcore.ErrorLevel:
		return slog.LevelError
	case level == zapcore.WarnLevel:
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

func slogArgs(fields []zapcore.Field) []any {
	encoder := zapcore.NewMapObjectEncoder()
	args := make([]any, 0, 2*len(fields))
	for _, field := range fields {
		field.AddTo(encoder)
	}
	for name, value := range encoder.Fields {
		args = append(args, name, value)
	}
	return args
}

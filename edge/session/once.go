package session

import (
	"context"
	"errors"
	"time"
)

// Once takes a place for that long, Options.Lease at most, and tells whether nobody had it: what lies there may be used
// once in the cluster. It holds as a limit of one does, and takes what opening a session takes. Errors are ErrFull and
// ErrUnreachable: then nobody knows.
func (b *Book) Once(ctx context.Context, p Place, lasting time.Duration) (first bool, err error) {
	_, err = b.Open(ctx, p, Opening{Limit: 1, For: max(lasting, time.Second)})
	if _, taken := errors.AsType[*Conflict](err); taken || errors.Is(err, ErrEnded) {
		return false, nil
	}
	return err == nil, err
}

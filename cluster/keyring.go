package cluster

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"
)

// DefaultKeyInterval is the time between two looks at the secret file.
const DefaultKeyInterval = 3 * time.Second

// A file that changes is read again after this pause, and holds if it is the same: who writes it may not be done.
const settleTime = 100 * time.Millisecond

// KeyringOptions says where secrets come from. Secrets or Read is required.
type KeyringOptions struct {
	// Secrets are those to begin with; none means what Read returns.
	Secrets Secrets

	// Read returns the content of the secret file; nil means that the secrets never change.
	Read func() ([]byte, error)

	// Interval is the time between two looks at the file; 0 means DefaultKeyInterval. The content is compared, not the
	// file's time: that is coarse, and what mounts secrets may leave it alone.
	Interval time.Duration

	// Log receives changes at info and refused files at warn; nil discards.
	Log *slog.Logger
}

// Keyring holds the secrets of a running node, which change when their file does. What is encrypted, signed or accepted
// from then on follows. The secrets are an immutable value behind an atomic pointer; all methods may be called at the
// same time.
type Keyring struct {
	options KeyringOptions
	log     *slog.Logger
	current atomic.Pointer[keySet]
	again   chan struct{} // holds one token while Reload asks for a look

	// The fields below belong to Run.
	seen    [sha256.Size]byte // hash of the file when it was looked at last, zero before: the file itself is not kept
	trouble string            // what was wrong with it, "" nothing
}

// keySet is what a Keyring holds between two changes.
type keySet struct {
	secrets Secrets
	signing [][]byte      // the key of each for requests in the clear
	next    chan struct{} // closed when another set has taken its place
}

// NewKeyring returns a keyring. It starts nothing. An error tells why the file cannot be read, or what is wrong in it.
func NewKeyring(o KeyringOptions) (*Keyring, error) {
	k := &Keyring{options: o, log: o.Log, again: make(chan struct{}, 1)}
	if k.log == nil {
		k.log = slog.New(slog.DiscardHandler)
	}
	if k.options.Interval < 0 {
		return nil, fmt.Errorf("cluster: interval of %v to look at the secret file: want more than 0", k.options.Interval)
	}
	orDuration(&k.options.Interval, DefaultKeyInterval)
	secrets := o.Secrets
	if len(secrets) == 0 && o.Read != nil {
		text, err := o.Read()
		if err != nil {
			return nil, err
		}
		if secrets, err = ParseSecrets(text); err != nil {
			return nil, err
		}
		k.seen = sha256.Sum256(text)
	}
	if len(secrets) == 0 || slices.ContainsFunc(secrets, Secret.IsZero) {
		return nil, ErrNoSecret
	}
	k.set(slices.Clone(secrets))
	return k, nil
}

// Secrets returns those that hold now. The caller must not change them.
func (k *Keyring) Secrets() Secrets { return k.current.Load().secrets }

// watch returns the secrets that hold now, and a channel that is closed when others have taken their place.
func (k *Keyring) watch() (Secrets, <-chan struct{}) {
	set := k.current.Load()
	return set.secrets, set.next
}

// Reload has Run look at the file now.
func (k *Keyring) Reload() {
	select {
	case k.again <- struct{}{}:
	default: // a look is due already
	}
}

// Run looks at the file every Interval until ctx ends, and returns nil. It may be called once.
func (k *Keyring) Run(ctx context.Context) error {
	if k.options.Read == nil {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(k.options.Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			k.look(ctx)
		case <-k.again:
			k.seen, k.trouble = [sha256.Size]byte{}, "" // what is still wrong is said again
			k.look(ctx)
		}
	}
}

// look reads the file and takes what is new in it.
func (k *Keyring) look(ctx context.Context) {
	text, err := k.options.Read()
	if err == nil && sha256.Sum256(text) == k.seen {
		return
	}
	select {
	case <-ctx.Done():
		return
	case <-time.After(settleTime):
	}
	again, errAgain := k.options.Read()
	if (err == nil) != (errAgain == nil) || !bytes.Equal(text, again) {
		k.Reload() // it is being written
		return
	}
	if err == nil {
		k.seen = sha256.Sum256(again)
		err = k.take(again)
	}
	k.say(err)
}

// take replaces the secrets by those in text, all of them or none.
func (k *Keyring) take(text []byte) error {
	secrets, err := ParseSecrets(text)
	if err != nil {
		return err
	}
	old := k.Secrets()
	if slices.EqualFunc(old, secrets, Secret.equal) {
		return nil
	}
	k.set(secrets)
	k.log.Info("cluster secrets changed", "in_use", secrets[0].ID(), "accepted", secrets.IDs(), "before", old.IDs())
	return nil
}

// say logs what is wrong, once for as long as it is.
func (k *Keyring) say(err error) {
	trouble := ""
	if err != nil {
		trouble = err.Error()
	}
	if trouble != "" && trouble != k.trouble {
		k.log.Warn("the secret file is refused, the secrets stay as they are", "error", trouble, "accepted", k.Secrets().IDs())
	}
	k.trouble = trouble
}

func (k *Keyring) set(s Secrets) {
	set := &keySet{secrets: s, next: make(chan struct{})}
	for _, secret := range s {
		set.signing = append(set.signing, secret.derive(signKeyLabel))
	}
	old := k.current.Swap(set)
	if old != nil {
		close(old.next)
	}
}

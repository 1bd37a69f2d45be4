package cache

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"weir/cache/disk"
	"weir/cache/policy"
)

// Defaults of Options.
const (
	DefaultDiskBytes   = 10 << 30
	DefaultMemoryBytes = 256 << 20
	DefaultOpenFiles   = 4096
	DefaultSmallBytes  = 64 << 10
)

const (
	// nShards is the number of locks over running fills. They are held for tens of nanoseconds on a miss only.
	nShards = 64
	// objectBytes is what an Object costs beside its strings and its body, with its entries in both tiers, and fieldBytes
	// what a header field costs beside its own. Measured on the heap with 5,000 objects of ten fields: 2.1 KiB each on
	// disk and 1.9 KiB in memory, of which these and the strings make 2.4 KiB.
	objectBytes = 1 << 10
	fieldBytes  = 96
	// markBytes bounds pass markers and Vary names, each. Full, the least recently used go: a lost marker costs one
	// more fill, a lost Vary entry one look at the disk.
	markBytes = 4 << 20
	// slackPart and slackMax are what the worker keeps free of the disk's budget, as a part of it and at most: an unlink
	// of 2 MiB costs twice a small create, and who fills should not wait for it.
	slackPart = 16
	slackMax  = 256 << 20
	// minRelief is what is evicted at least when the disk is full: one large object.
	minRelief = 2 << 20
	// objectPart is the part of its tier's budget that one object may take: a larger one would empty the tier.
	objectPart = 4
	// touchEvery is how often the disk's index hears of a hot Object's use: its lock and its list took a tenth
	// of a hot Get, more where several processors want them. The order of what is used within a second is lost.
	touchEvery = time.Second
	// unlinkQueue bounds the removed files that wait for the worker; when full, whoever removes unlinks by itself.
	unlinkQueue = 4096
)

// Options describe a Cache. The zero value is a cache in memory.
type Options struct {
	// Dir is where objects are stored; it is created if absent, and one process at a time may use it. Empty means in
	// memory only.
	Dir string
	// DiskBytes bounds the files under Dir: stored, being filled and evicted but not yet unlinked, in blocks of 4 KiB.
	// 0 means DefaultDiskBytes. Without Dir it is ignored.
	DiskBytes int64
	// MemoryBytes bounds what objects take of memory: heads, bodies up to SmallBytes, and without Dir all bodies.
	// 0 means DefaultMemoryBytes.
	MemoryBytes int64
	// OpenFiles bounds the descriptors that the hot tier keeps open; fills and readers hold others. 0 means
	// DefaultOpenFiles.
	OpenFiles int
	// SmallBytes is up to which size a body is kept in memory rather than behind a descriptor. 0 means
	// DefaultSmallBytes; negative means none.
	SmallBytes int64
	// ScrubBytesPerSecond is how fast stored bodies are read in the background to find those that the disk has damaged. 0
	// means a hundredth of what is stored in an hour, and 64 KiB a second at least; negative means not at all.
	ScrubBytesPerSecond int64
	// Log receives what is worth knowing and not returned; nil discards it.
	Log *slog.Logger
	// FS is the file system; nil means the machine's. Tests pass one that fails.
	FS disk.FS
}

// Cache stores responses. See the package's comment; its methods may be called at the same time.
type Cache struct {
	opts  Options
	log   *slog.Logger
	fs    disk.FS
	store *disk.Store // nil without Dir
	// journal is what index is loaded from at the next start; nil without Dir.
	journal *disk.Journal

	hot    *policy.LRU[ID, *Object]
	crowds policy.Crowds
	index  *policy.Index // nil without Dir
	passes *policy.LRU[ID, time.Time]
	varies *policy.LRU[ID, *variants]

	shards  [nShards]shard
	buffers sync.Pool // of *[pieceBytes]byte
	unlinks chan ID
	trim    chan struct{} // wakes the worker when slack is used up
	full    atomic.Bool   // the disk was full although the budget was not
	slack   int64
	version atomic.Uint64
	began   time.Time // when New was called
	// scanned tells that index has every file there is.
	scanned atomic.Bool
	// loaded is set by Run once index has what the journal had, and read by Close.
	loaded bool
	// custody is whose the directory is; see Yield. It changes in keepJournal's goroutine alone.
	custody atomic.Int32
	orders  chan order
	// strays tells that a file was left on disk that index does not have: the next start has to look for it.
	strays atomic.Bool
	// flushEvery and snapshotEvery are the constants, but in tests.
	flushEvery, snapshotEvery time.Duration

	counts counts
}

// New opens a cache and starts nothing. With Dir the error may be disk.ErrLocked: another process uses it.
func New(opts Options) (*Cache, error) {
	if err := opts.fill(); err != nil {
		return nil, err
	}
	now := time.Now()
	c := &Cache{
		opts: opts, log: opts.Log, fs: opts.FS, began: now, unlinks: make(chan ID, unlinkQueue), trim: make(chan struct{}, 1), orders: make(chan order),
		flushEvery: flushEvery, snapshotEvery: snapshotEvery,
	}
	c.buffers.New = func() any { return new([pieceBytes]byte) }
	// Versions go on rising over restarts as long as the clock does not go back by the time the process ran.
	c.version.Store(uint64(now.UnixNano()))
	for i := range c.shards {
		c.shards[i].init(opts.Dir != "")
	}
	if err := c.makeTiers(); err != nil {
		return nil, err
	}
	if opts.Dir == "" {
		c.scanned.Store(true)
		return c, nil
	}
	store, err := disk.New(disk.Options{Dir: opts.Dir, FS: opts.FS}, now)
	if err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	c.store = store
	c.journal, err = disk.NewJournal(disk.JournalOptions{
		Dir: filepath.Join(opts.Dir, "journal"), FS: opts.FS, LogBytes: min(disk.DefaultLogBytes, opts.DiskBytes/logPart),
	})
	if err != nil {
		_ = store.Close() // the first error is the one to report
		return nil, fmt.Errorf("cache: %w", err)
	}
	return c, nil
}

func (o *Options) fill() error {
	switch {
	case o.DiskBytes < 0:
		return errors.New("cache: Options.DiskBytes is negative")
	case o.MemoryBytes < 0:
		return errors.New("cache: Options.MemoryBytes is negative")
	case o.OpenFiles < 0:
		return errors.New("cache: Options.OpenFiles is negative")
	case o.DiskBytes > 0 && o.DiskBytes < 1<<20:
		return fmt.Errorf("cache: Options.DiskBytes of %d is below 1 MiB", o.DiskBytes)
	}
	o.DiskBytes = orDefault(o.DiskBytes, DefaultDiskBytes)
	o.MemoryBytes = orDefault(o.MemoryBytes, DefaultMemoryBytes)
	o.OpenFiles = orDefault(o.OpenFiles, DefaultOpenFiles)
	o.SmallBytes = max(0, orDefault(o.SmallBytes, DefaultSmallBytes))
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.FS == nil {
		o.FS = &disk.Real{}
	}
	return nil
}

func orDefault[T int | int64](v, d T) T {
	if v == 0 {
		return d
	}
	return v
}

func (c *Cache) makeTiers() (err error) {
	c.hot, err = policy.New[ID, *Object](policy.Options[ID]{
		Bytes: c.opts.MemoryBytes, Slots: int64(c.opts.OpenFiles), Hash: ID.spread,
	})
	if err != nil {
		return err
	}
	if c.passes, err = policy.New[ID, time.Time](policy.Options[ID]{Bytes: markBytes, Hash: ID.spread}); err != nil {
		return err
	}
	if c.varies, err = policy.New[ID, *variants](policy.Options[ID]{Bytes: markBytes, Hash: ID.spread}); err != nil {
		return err
	}
	if c.memoryOnly() {
		return nil
	}
	c.slack = min(c.opts.DiskBytes/slackPart, slackMax)
	c.index, err = policy.NewIndex(policy.IndexOptions{
		Bytes: c.opts.DiskBytes, Clock: func() time.Time { return c.began.Add(time.Since(c.began)) }, Seed: uint64(c.began.UnixNano()),
	})
	return err
}

// Get returns the stored response of k, retained for the caller, or nil. It looks in the hot tier, then on disk, where
// the first open after a start reads the whole body to check it.
//
// Hot path: for a hot key one mutex, once a second three more, no allocation, no system call.
func (c *Cache) Get(k Key) *Object {
	if o := c.getHot(k); o != nil {
		c.counts.hits.Add(1)
		return o
	}
	if o := c.open(k); o != nil {
		c.counts.diskHits.Add(1)
		return o
	}
	c.counts.misses.Add(1)
	return nil
}

// Has tells whether a response of k seems to be stored, without opening it: Get may find that it is damaged, of another
// text with the same ID, or evicted since. It counts as no use.
func (c *Cache) Has(k Key) bool {
	if _, ok := c.hot.Peek(k.ID); ok || c.memoryOnly() {
		return ok
	}
	_, ok := c.index.Peek(k.ID)
	return ok
}

// Turn is what Begin answers: exactly one of Object, Fill and Pass is set.
type Turn struct {
	// Object is a stored response that the caller has not seen, retained for it.
	Object *Object
	// Fill is a running one to read from or, if Leader is set, a new one that the caller has to write and end.
	Fill   *Fill
	Leader bool
	// Pass says that responses of this key are not shared for now, or that the cache is closed: ask for yourself.
	Pass bool
}

// Begin decides, after a Get that did not suffice, who fetches k. seen is the stored response that the caller found
// unusable (stale), or nil. Of any number of calls at the same time exactly one becomes the leader, and none does so
// once a response that it has not seen is stored.
func (c *Cache) Begin(k Key, seen *Object) Turn {
	s := c.shard(k.ID)
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return Turn{Pass: true}
	}
	hot := c.getHot(k)
	if hot != nil && !hot.same(seen) {
		s.mu.Unlock()
		return Turn{Object: hot}
	}
	turn := c.turnLocked(s, k, seen)
	s.mu.Unlock()
	if hot != nil {
		hot.Release() // off the lock: it may close a file
		return turn
	}
	if !turn.Leader || c.seenOnDisk(k, seen) {
		return turn
	}
	// The disk is looked at without the lock, and by the new leader only: the others wait for it in the Fill.
	o := c.open(k)
	if o == nil {
		return turn
	}
	if o.same(seen) || turn.Fill.Resolve(o) != nil {
		o.Release()
		return turn
	}
	return Turn{Object: o}
}

// turnLocked joins the running fill, or starts one. A fill that has stored what the caller has seen is over for it:
// joined, it would give the same Object again as if it were new.
func (c *Cache) turnLocked(s *shard, k Key, seen *Object) Turn {
	if f := s.fills[k.ID]; f != nil {
		if f.key.Text != k.Text {
			return Turn{Pass: true} // two texts with one ID at the same time
		}
		if seen == nil || !f.gave(seen) {
			return Turn{Fill: f}
		}
	}
	// The marker has no text: a collision costs one response that is not shared.
	if until, ok := c.passes.Peek(k.ID); ok && time.Now().Before(until) {
		return Turn{Pass: true}
	}
	f := newFill(c, k)
	s.fills[k.ID] = f
	c.counts.fills.Add(1)
	return Turn{Fill: f, Leader: true}
}

// Remove takes the response of k out of the cache and tells whether there was one. A fill that runs for k goes on for
// its readers but is not stored, and the next Begin starts another. Responses stored under other keys (variants) stay.
func (c *Cache) Remove(k Key) bool {
	s := c.shard(k.ID)
	s.mu.Lock()
	f := s.fills[k.ID]
	if f != nil {
		f.detached.Store(true)
		delete(s.fills, k.ID)
	}
	s.mu.Unlock()
	c.passes.Remove(k.ID)
	found := c.discard(k.ID)
	if found || f != nil {
		c.counts.removed.Add(1)
		return true
	}
	return false
}

// Evict takes o out of the cache, if it still is what is stored under its key, and tells whether it was. Other than
// Remove it leaves a fill that runs for the key alone.
func (c *Cache) Evict(o *Object) bool {
	id := o.key.ID
	s := c.shard(id)
	s.mu.Lock()
	var stored bool
	if c.memoryOnly() {
		now, ok := c.hot.Peek(id)
		stored = ok && now.same(o)
	} else {
		cl := s.claims[id]
		stored = c.currentLocked(s, o) && (cl == nil || !cl.publishing) // what is being published takes its place
	}
	if !stored {
		s.mu.Unlock()
		return false
	}
	d := c.detachLocked(s, id, false)
	s.mu.Unlock()
	c.dispose(id, d)
	if d.found {
		c.counts.removed.Add(1)
	}
	return d.found
}

// Fits tells whether a body of this length can be stored: one object takes at most a quarter of the disk's budget, or of
// the memory's without a disk. One that does not fit is served through its Fill all the same, but its bytes are held
// outside of the budgets until its last reader is done, so a caller that expects huge ones passes them instead.
func (c *Cache) Fits(length int64) bool {
	if c.memoryOnly() {
		return length <= c.opts.MemoryBytes/objectPart
	}
	return length <= c.opts.DiskBytes/objectPart
}

// Close ends running fills with ErrClosed, lets go of every Object and of the directory. Objects that callers still hold
// stay readable until they are released. Run must have returned. A second Close does nothing.
func (c *Cache) Close() error {
	var fills []*Fill
	for i := range c.shards {
		running, was := c.shards[i].close()
		if was {
			return nil
		}
		fills = append(fills, running...)
	}
	for _, f := range fills {
		f.cancel(ErrClosed)
	}
	c.unlinkQueued()
	for _, item := range c.hot.Clear() {
		item.Value.Release()
	}
	if c.store == nil {
		return nil
	}
	if c.custody.Load() == yielded {
		return nil // journal and lock are another process's
	}
	c.closeJournal()
	return c.store.Close()
}

func (c *Cache) shard(id ID) *shard { return &c.shards[id.spread()%nShards] }

func (c *Cache) memoryOnly() bool { return c.opts.Dir == "" }

func (c *Cache) nextVersion() uint64 { return c.version.Add(1) }

// getHot returns the Object of k if it is hot, retained.
// Hot path: see Get.
func (c *Cache) getHot(k Key) *Object {
	o, ok := c.hot.Get(k.ID)
	if !ok || o.key.Text != k.Text || !o.tryRetain() {
		return nil
	}
	if c.index != nil {
		c.touch(o)
	}
	return o
}

// touch tells the index now and then that what is hot is in use: it is not the oldest on disk.
// Hot path: the clock, an atomic addition and a load.
func (c *Cache) touch(o *Object) {
	o.uses.Add(1)
	now := int64(touchEvery + time.Since(c.began)) // never 0
	last := o.touched.Load()
	if last != 0 && now-last < int64(touchEvery) || !o.touched.CompareAndSwap(last, now) {
		return
	}
	c.index.Get(o.key.ID)
	c.asked(o)
}

// asked tells the index of the requests that have come for o.
func (c *Cache) asked(o *Object) {
	if c.index != nil && o.uses.Load() > 0 {
		c.index.Ask(o.stream, uint32(max(0, o.uses.Swap(0))))
	}
}

func (c *Cache) setPass(k Key, until time.Time) {
	const entryBytes = 256 // map, list and time
	c.passes.Add(k.ID, until, policy.Cost{Bytes: entryBytes})
}

// forget takes an ended fill out of the table of running ones.
func (c *Cache) forget(f *Fill) {
	s := c.shard(f.key.ID)
	s.mu.Lock()
	if s.fills[f.key.ID] == f {
		delete(s.fills, f.key.ID)
	}
	s.mu.Unlock()
	c.counts.fills.Add(-1)
}

package cache

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/cache/disk"
)

// rounds is how often TestKill kills; 20 with -short. From 1000 on other tests leave nothing out, either.
var rounds = flag.Int("rounds", 200, "how many times TestKill kills the process that fills a cache")

// The child's environment.
const (
	killDir  = "WEIR_TEST_KILL_DIR"
	killSeed = "WEIR_TEST_KILL_SEED"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(killDir); dir != "" {
		if err := victim(dir); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, err) // nowhere else to say it
			os.Exit(3)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A process that fills, replaces, refreshes, removes and serves is killed at a random instant, again and again. The next
// one reads all that is stored: never a wrong byte; index and files agree once it has looked, and the budget holds.
func TestKill(t *testing.T) {
	t.Parallel()
	n := *rounds
	if testing.Short() {
		n = min(n, 20)
	}
	dir := t.TempDir()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for i := range n {
		// Most are killed at work, some while they start.
		until, patience := "checked", time.Duration(r.IntN(60))*time.Millisecond
		if i%4 == 3 {
			until, patience = "started", time.Duration(r.IntN(20_000))*time.Microsecond
		}
		p := startVictim(t, dir, seed+uint64(i))
		p.await(t, until)
		if i == 0 {
			if _, err := New(Options{Dir: dir}); !errors.Is(err, disk.ErrLocked) {
				t.Errorf("a second process: %v, want ErrLocked", err)
			}
		}
		time.Sleep(patience)
		p.kill(t)
		if t.Failed() {
			t.Fatalf("in round %d", i)
		}
	}
	p := startVictim(t, dir, 0)
	p.await(t, "checked")
	p.kill(t)
}

type process struct {
	cmd    *exec.Cmd
	out    *bufio.Scanner
	errors strings.Builder
}

func startVictim(t *testing.T, dir string, seed uint64) *process {
	t.Helper()
	p := &process{cmd: exec.CommandContext(t.Context(), os.Args[0])}
	p.cmd.Env = append(os.Environ(), killDir+"="+dir, killSeed+"="+strconv.FormatUint(seed, 10))
	p.cmd.Stderr = &p.errors
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewScanner(out)
	return p
}

func (p *process) await(t *testing.T, line string) {
	t.Helper()
	for p.out.Scan() {
		if p.out.Text() == line {
			return
		}
	}
	_ = p.cmd.Wait() // it has said what is wrong
	t.Fatalf("no %q: %s", line, p.errors.String())
}

func (p *process) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Error(err)
	}
	_, _ = io.Copy(io.Discard, nopReader{p.out})
	if err := p.cmd.Wait(); p.errors.Len() > 0 {
		t.Errorf("%v: %s", err, p.errors.String())
	}
}

// nopReader reads a scanner to its end.
type nopReader struct{ *bufio.Scanner }

func (r nopReader) Read([]byte) (int, error) {
	if r.Scan() {
		return 0, nil
	}
	return 0, io.EOF
}

const victimKeys = 120

// victim is the child: it checks what the one before has left, then works until it is killed.
func victim(dir string) error {
	seed, err := strconv.ParseUint(os.Getenv(killSeed), 10, 64)
	if err != nil {
		return err
	}
	fmt.Println("started")
	c, err := New(Options{
		Dir: dir, DiskBytes: 8 << 20, MemoryBytes: 2 << 20, OpenFiles: 20, SmallBytes: 16 << 10, ScrubBytesPerSecond: 50 << 20,
		Log: slog.New(slog.NewTextHandler(os.Stdout, nil)),
	})
	if err != nil {
		return err
	}
	// The journal is as busy in a tenth of a second as else in minutes.
	c.flushEvery, c.snapshotEvery = 5*time.Millisecond, 40*time.Millisecond
	failed := make(chan error, 10)
	go func() { failed <- c.Run(context.Background()) }() // until the end of the process
	for i := range victimKeys {
		if err := look(c, victimKey(i)); err != nil {
			return fmt.Errorf("before the scan: %w", err)
		}
	}
	if err := agree(c, dir); err != nil {
		return err
	}
	if n := c.Stats().Corrupt; n > 0 {
		return fmt.Errorf("%d files are damaged: a kill tears none", n)
	}
	fmt.Println("checked")
	for w := range uint64(3) {
		go func() { failed <- work(c, rand.New(rand.NewPCG(seed, w))) }() // until the end of the process
	}
	return <-failed
}

func victimKey(i int) Key { return NewKey(fmt.Sprint("http://origin/segment", i)) }

// victimBody is the body of a version of a key, and self-evident from both.
func victimBody(k Key, version uint64) []byte {
	sizes := [...]int{0, 700, 9_000, 17_000, 70_000, 140_000, 400_000}
	return pattern(k.ID.Hash64()^version*0x9e3779b97f4a7c15, sizes[version%uint64(len(sizes))])
}

func look(c *Cache, k Key) error {
	o := c.Get(k)
	if o == nil {
		return nil
	}
	defer o.Release()
	return verify(o)
}

// verify compares every byte with what the head says it has to be.
func verify(o *Object) error {
	version, err := strconv.ParseUint(o.Head().Header.Get("Version"), 10, 64)
	if err != nil {
		return fmt.Errorf("head of %s: %w", o.Key().Text, err)
	}
	got, err := readAll(context.Background(), o, 0)
	if want := victimBody(o.Key(), version); err != nil || !slices.Equal(got, want) {
		return fmt.Errorf("body of %s version %d: %d bytes, %w; want %d, equal %v", o.Key().Text, version, len(got), err, len(want), slices.Equal(got, want))
	}
	return nil
}

// agree waits until index and files are the same and demands that they are within the budget.
func agree(c *Cache, dir string) error {
	var what error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if !c.Stats().Scanned {
			what = errors.New("the scan takes too long")
			continue
		}
		indexed := map[string]int64{}
		for r := range c.records() {
			indexed[ID(r.ID).String()] = r.Bytes
		}
		names, err := filepath.Glob(filepath.Join(dir, "[0-9a-f][0-9a-f]", "*"))
		if err != nil {
			return err
		}
		sum := int64(0)
		what = nil
		for _, name := range names {
			info, err := os.Stat(name)
			if err != nil {
				what = err
				break
			}
			if size := roundBlock(info.Size()); indexed[filepath.Base(name)] != size {
				what = fmt.Errorf("%s has %d bytes, the index has %d", name, size, indexed[filepath.Base(name)])
			}
			sum += roundBlock(info.Size())
		}
		if what == nil && len(names) != len(indexed) {
			what = fmt.Errorf("%d files, the index has %d", len(names), len(indexed))
		}
		if what != nil {
			continue // something waits to be unlinked
		}
		if s := c.Stats(); sum > s.DiskLimit || s.DiskBytes > s.DiskLimit {
			return fmt.Errorf("%d bytes on disk, %d in the index, limit %d", sum, s.DiskBytes, s.DiskLimit)
		}
		return nil
	}
	return what
}

// work does what a node does, in random order, until something is wrong.
func work(c *Cache, r *rand.Rand) error {
	for {
		if err := step(c, r); err != nil {
			return err
		}
	}
}

func step(c *Cache, r *rand.Rand) error {
	k := victimKey(r.IntN(victimKeys))
	if r.IntN(20) == 0 {
		c.Remove(k)
		return nil
	}
	o := c.Get(k)
	if o != nil {
		defer o.Release()
		if err := verify(o); err != nil || r.IntN(3) > 0 {
			return err
		}
	}
	return renew(c, r, k, o)
}

// renew stores another version, or a new head, if nobody else does.
func renew(c *Cache, r *rand.Rand, k Key, seen *Object) error {
	turn := c.Begin(k, seen)
	if !turn.Leader {
		if turn.Object == nil {
			return nil
		}
		defer turn.Object.Release()
		return verify(turn.Object)
	}
	if seen != nil && r.IntN(2) == 0 {
		h := *seen.Head()
		h.ResponseTime = h.ResponseTime.Add(time.Second)
		o, err := turn.Fill.Refresh(seen, h)
		if err != nil {
			turn.Fill.Abort(err)
			return err
		}
		defer o.Release()
		return verify(o)
	}
	version := r.Uint64()
	body := victimBody(k, version)
	length := int64(-1)
	if r.IntN(2) == 0 {
		length = int64(len(body))
	}
	h := head(length)
	h.Header = http.Header{"Version": {strconv.FormatUint(version, 10)}}
	o, err := turn.Fill.Start(h, k)
	if err != nil {
		turn.Fill.Abort(err)
		return err
	}
	defer o.Release()
	for p := body; len(p) > 0; {
		n := min(len(p), 1+r.IntN(100_000))
		if _, err := turn.Fill.Write(p[:n]); err != nil {
			turn.Fill.Abort(err)
			return err
		}
		p = p[n:]
	}
	if r.IntN(10) == 0 {
		turn.Fill.Abort(errors.New("the origin broke off"))
		return nil
	}
	if err := turn.Fill.Finish(); err != nil {
		return err
	}
	return verify(o)
}

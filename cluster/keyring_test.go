package cluster

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"
)

func TestParseSecrets(t *testing.T) {
	t.Parallel()
	a, b := NewSecret(), NewSecret()
	many := ""
	for range maxSecrets + 1 {
		many += NewSecret().Reveal() + "\n"
	}
	for _, tt := range []struct {
		name, text string
		want       Secrets
		err        string // in the error; "" means none
	}{
		{"one", a.Reveal(), Secrets{a}, ""},
		{"two", a.Reveal() + "\n" + b.Reveal() + "\n", Secrets{a, b}, ""},
		{"comments", "# made in spring\n\n  " + a.Reveal() + "  # in use\r\n#" + b.Reveal() + "\n", Secrets{a}, ""},
		{"nothing", "", nil, "empty"},
		{"comments alone", "# " + a.Reveal() + "\n", nil, "empty"},
		{"a good one and a bad one", a.Reveal() + "\n# old\nsesame\n", nil, "line 3: cluster: the secret is too short"},
		{"a good one and half of one", a.Reveal() + "\n" + b.Reveal()[:20], nil, "line 2: "},
		{"twice", a.Reveal() + "\n" + b.Reveal() + "\n" + a.Reveal(), nil, "line 3: cluster: the secret is there a second time"},
		{"too many", many, nil, "more than 4 secrets"},
		{"long", strings.Repeat("#\n", maxSecretsText), nil, "at most"},
	} {
		got, err := ParseSecrets([]byte(tt.text))
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %v, want an error with %q", tt.name, err, tt.err)
		}
		if !slices.EqualFunc(got, tt.want, Secret.equal) {
			t.Errorf("%s: got %s, want %s", tt.name, got.IDs(), tt.want.IDs())
		}
		if err != nil && (strings.Contains(err.Error(), a.Reveal()[:8]) || strings.Contains(err.Error(), "sesame")) {
			t.Errorf("%s: the error repeats a secret: %v", tt.name, err)
		}
	}
}

// secretFile is a file in memory.
type secretFile struct {
	mu   sync.Mutex // guards the fields below
	text []byte
	err  error
}

func (f *secretFile) read() ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return bytes.Clone(f.text), f.err
}

func (f *secretFile) write(secrets ...Secret) {
	text := ""
	for _, s := range secrets {
		text += s.Reveal() + "\n"
	}
	f.set(text, nil)
}

func (f *secretFile) set(text string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.text, f.err = []byte(text), err
}

// runKeyring runs a keyring over a file with these secrets until the test ends.
func runKeyring(t *testing.T, secrets ...Secret) (*Keyring, *secretFile, *lines) {
	t.Helper()
	file, logged := &secretFile{}, &lines{}
	file.write(secrets...)
	k, err := NewKeyring(KeyringOptions{Read: file.read, Log: logged.logger()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = k.Run(ctx) }) // always nil
	t.Cleanup(func() { cancel(); running.Wait() })
	return k, file, logged
}

func TestKeyringFollowsItsFile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := NewSecret(), NewSecret()
		k, file, logged := runKeyring(t, a)
		time.Sleep(time.Minute)
		if logged.String() != "" {
			t.Errorf("a file that stays the same is mentioned:\n%s", logged)
		}
		file.write(a, b)
		await(t, "new secret accepted", DefaultKeyInterval+settleTime+time.Second, func() bool { return len(k.Secrets()) == 2 })
		if got, want := k.Secrets().IDs(), a.ID()+" "+b.ID(); got != want {
			t.Errorf("secrets are %s, want %s", got, want)
		}
		if logged.count("cluster secrets changed") != 1 || logged.count(b.ID()) == 0 {
			t.Errorf("the change is not told once:\n%s", logged)
		}
		file.write(b)
		synctest.Wait()
		k.Reload()
		await(t, "reloaded", 2*settleTime, func() bool { return k.Secrets().IDs() == b.ID() })
	})
}

func TestKeyringRefusesAWrongFileAsAWhole(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := NewSecret(), NewSecret()
		k, file, logged := runKeyring(t, a)
		for name, wrong := range map[string]func(){
			"nonsense behind a good secret": func() { file.set(b.Reveal()+"\nnonsense\n", nil) },
			"nothing":                       func() { file.set("", nil) },
			"no file":                       func() { file.set("", errors.New("no such file")) },
		} {
			before := logged.count("the secret file is refused")
			wrong()
			time.Sleep(time.Minute)
			if got := k.Secrets().IDs(); got != a.ID() {
				t.Errorf("%s: secrets are %s, want %s still", name, got, a.ID())
			}
			if got := logged.count("the secret file is refused") - before; got != 1 {
				t.Errorf("%s: told %d times, want once:\n%s", name, got, logged)
			}
		}
		before := logged.count("the secret file is refused")
		k.Reload()
		time.Sleep(time.Second)
		if logged.count("the secret file is refused") != before+1 {
			t.Error("who asks is not told what is wrong")
		}
		file.write(b)
		time.Sleep(DefaultKeyInterval + time.Second)
		if got := k.Secrets().IDs(); got != b.ID() {
			t.Errorf("after a good file secrets are %s, want %s", got, b.ID())
		}
		if strings.Contains(logged.String(), b.Reveal()[:8]) {
			t.Error("the log shows a secret")
		}
	})
}

// A file that is being written may look complete, with one secret of two.
func TestKeyringWaitsForTheWriter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := NewSecret(), NewSecret()
		k, file, logged := runKeyring(t, a)
		time.Sleep(DefaultKeyInterval - settleTime/2)
		file.set("#", nil)
		time.Sleep(settleTime) // Run has seen it
		file.write(b)
		time.Sleep(settleTime) // and that
		file.write(b, a)
		time.Sleep(DefaultKeyInterval + time.Second)
		if got, want := k.Secrets().IDs(), b.ID()+" "+a.ID(); got != want {
			t.Errorf("secrets are %s, want %s", got, want)
		}
		if logged.count("cluster secrets changed") != 1 || logged.count("refused") > 0 {
			t.Errorf("a file that was being written was taken:\n%s", logged)
		}
	})
}

// The library's ring of keys is read while it changes: under the race detector this fails where a key is removed from its
// middle.
func TestInstall(t *testing.T) {
	t.Parallel()
	ring, err := memberlist.NewKeyring(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	pool := make([][]byte, 5)
	for i := range pool {
		pool[i] = make([]byte, 32)
		rand.Read(pool[i])
	}
	if err := install(ring, pool[:1]); err != nil {
		t.Fatal(err)
	}
	done, some := make(chan struct{}), pool[0]
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() { // ends with done
			for {
				select {
				case <-done:
					return
				default:
				}
				for _, key := range ring.GetKeys() {
					_ = bytes.Equal(key, some)
				}
			}
		})
	}
	const seed = 7
	random := mathrand.New(mathrand.NewPCG(seed, seed))
	for round := range 2000 {
		random.Shuffle(len(pool), func(i, j int) { pool[i], pool[j] = pool[j], pool[i] })
		want := slices.Clone(pool[:1+random.IntN(maxSecrets)])
		if err := install(ring, want); err != nil {
			t.Fatal(err)
		}
		got := slices.Clone(ring.GetKeys())
		if !bytes.Equal(got[0], want[0]) {
			t.Fatalf("seed %d, round %d: the first key is not in use", seed, round)
		}
		slices.SortFunc(got, bytes.Compare)
		slices.SortFunc(want, bytes.Compare)
		if !slices.EqualFunc(got, want, bytes.Equal) {
			t.Fatalf("seed %d, round %d: holds %d keys, want %d", seed, round, len(got), len(want))
		}
	}
	close(done)
	readers.Wait()
}

// rotating starts three nodes with a secret file each.
func rotating(t *testing.T, net *memnet, secret Secret) (nodes []*testNode, files []*secretFile) {
	t.Helper()
	for range 3 {
		files = append(files, nil)
	}
	i := 0
	nodes = startCluster(t, net, 3, func(o *Options) {
		o.Keyring, files[i], _ = runKeyring(t, secret)
		i++
	})
	return nodes, files
}

func TestRotation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		net := newMemnet()
		older, newer := NewSecret(), NewSecret()
		nodes, files := rotating(t, net, older)
		handshakes, stop := handshaking(t, nodes)
		for _, step := range []Secrets{{older, newer}, {newer, older}, {newer}} {
			for i, file := range files {
				file.write(step...)
				await(t, "followed", 5*time.Second, func() bool { return nodes[i].options.Keyring.Secrets().IDs() == step.IDs() })
				time.Sleep(10 * time.Second) // more than enough for a member to be missed
			}
			for _, n := range nodes {
				for _, m := range n.Members() {
					if m.Keys != step.IDs() {
						t.Errorf("%s hears that %s has the secrets %s, want %s", n.Name(), m.Name, m.Keys, step.IDs())
					}
				}
			}
		}
		stop()
		for _, n := range nodes {
			if n.log.count("member lost") > 0 || n.Stats().RefusedMessages > 0 || !agree(3, nodes...) {
				t.Errorf("%s: %d members lost, %+v", n.Name(), n.log.count("member lost"), n.Stats())
			}
		}
		if failed, all := handshakes(); failed > 0 || all < 150 {
			t.Errorf("%d of %d handshakes between peers failed", failed, all)
		}
		o := nodeOptions(net, 4)
		o.Keyring = keyringOf(t, older)
		late := start(t, o)
		o = nodeOptions(net, 5)
		o.Keyring = keyringOf(t, newer)
		good := start(t, o)
		time.Sleep(30 * time.Second)
		if !agree(4, append(nodes, good)...) || late.Ring().Len() != 1 || nodes[0].Stats().RefusedMessages == 0 {
			t.Errorf("ring of %d, of the node with the old secret %d, want 4 and 1; %+v", nodes[0].Ring().Len(), late.Ring().Len(), nodes[0].Stats())
		}
	})
}

// handshaking lets all nodes shake hands with one another again and again. It returns how often that failed and was tried,
// and what ends it.
func handshaking(t *testing.T, nodes []*testNode) (counts func() (failed, all int), stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	failed, all := 0, 0
	identities := make([]identity, len(nodes))
	for i, n := range nodes {
		var err error
		if identities[i].server, identities[i].client, err = n.options.Keyring.PeerTLS(n.Name()); err != nil {
			t.Fatal(err)
		}
	}
	running.Go(func() { // ends with cancel
		for ; ctx.Err() == nil; time.Sleep(5 * time.Second) {
			for i, from := range identities {
				for j, at := range identities {
					all++
					if err := pipeHandshake(at.server, to(from.client, nodes[j].Name())); err != nil {
						failed++
						t.Logf("%s asks %s: %v", nodes[i].Name(), nodes[j].Name(), err)
					}
				}
			}
		}
	})
	stop = func() { cancel(); running.Wait() }
	t.Cleanup(stop)
	return func() (int, int) { return failed, all }, stop
}

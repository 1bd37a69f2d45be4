package proof

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// trialTimeout is how long a client waits for the end of a response; unless a
	// fault struck who was asked, the end comes within trialLimit.
	trialTimeout = 3 * time.Minute
	trialLimit   = 60 * time.Second
	// excuseTime is how long the effects of a fault last: what was begun must end.
	excuseTime = 15 * time.Second
	// mostHops is how many caches a response may come through: a node, the owner,
	// the one that owned it before.
	mostHops = 3
	// probes is how many purged paths each node is asked for after a round.
	probes = 5
)

// judge decides what is right while faults strike.
type judge struct {
	trial *trial

	mu       sync.Mutex // guards the fields below
	excuses  []excuse
	floors   map[string]map[string]uint64 // by node and path: the least version after the purges that it has obeyed
	posted   map[string]uint64            // by path: the least version once all nodes have
	lately   []string                     // paths purged in this round
	ages     map[string]lastAge           // by node and path
	inFlight map[string]int               // at the origin, by path and range
	isCalm   bool
	got      map[string]View // by node, since its last start: what clients got
}

// excuse is a time in which a node, or with "" all of them, may fail.
type excuse struct {
	node     string
	from, to time.Time // to is zero while it lasts
}

// lastAge is the newest Age of a stored response.
type lastAge struct {
	date string
	age  int64
	at   time.Time
}

func newJudge() *judge {
	return &judge{
		floors: map[string]map[string]uint64{}, posted: map[string]uint64{}, ages: map[string]lastAge{},
		inFlight: map[string]int{}, got: map[string]View{},
	}
}

// excuse lets a node fail until the returned func is called, and a little longer.
func (j *judge) excuse(node string) (end func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	from := time.Now()
	j.excuses = append(j.excuses, excuse{node: node, from: from})
	return func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		for i := range j.excuses {
			if e := &j.excuses[i]; e.node == node && e.from.Equal(from) && e.to.IsZero() {
				e.to = time.Now().Add(excuseTime)
				return
			}
		}
	}
}

// excused says whether a request of that time may have failed.
func (j *judge) excused(node string, from, to time.Time) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.ContainsFunc(j.excuses, func(e excuse) bool {
		return (e.node == "" || e.node == node) && !e.from.After(to) && (e.to.IsZero() || e.to.After(from))
	})
}

// calm says that nothing is wrong, or that it may be from now on.
func (j *judge) calm(yes bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.isCalm = yes
	j.excuses = slices.DeleteFunc(j.excuses, func(e excuse) bool { return !e.to.IsZero() && time.Since(e.to) > trialTimeout })
	if yes {
		j.lately = nil
	}
}

// everywhere says that all nodes must have obeyed all purges.
func (j *judge) everywhere() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, name := range j.trial.names {
		j.obeysLocked(name)
	}
}

// restarts says that a node starts anew. What it knew it still knows; and where it
// can ask the others, it serves nobody before it knows all.
func (j *judge) restarts(name string, linksHold bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.got, name)
	if linksHold {
		j.obeysLocked(name)
	}
}

func (j *judge) obeysLocked(name string) {
	for path, version := range j.posted {
		j.raiseLocked(name, path, version)
	}
}

func (j *judge) raiseLocked(name, path string, version uint64) {
	if j.floors[name] == nil {
		j.floors[name] = map[string]uint64{}
	}
	j.floors[name][path] = max(j.floors[name][path], version)
}

// purged notes who has obeyed a purge.
func (j *judge) purged(path string, version uint64, by []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, name := range by {
		j.raiseLocked(name, path, version)
	}
	j.posted[path] = max(j.posted[path], version)
	if !slices.Contains(j.lately, path) {
		j.lately = append(j.lately, path)
	}
}

func (j *judge) purgedLately() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.lately[max(0, len(j.lately)-probes):])
}

func (j *judge) floor(name, path string) uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.floors[name][path]
}

// asked watches one request to the origin until the returned func is called.
func (j *judge) asked(r *http.Request) (end func()) {
	if loops := r.Header.Values("Cdn-Loop"); len(loops) != 1 || strings.Contains(loops[0], ",") {
		j.trial.broken("I11", "the origin is asked for %s with CDN-Loop %q", r.URL.Path, loops)
	}
	key := r.URL.Path + " " + r.Header.Get("Range")
	j.mu.Lock()
	j.inFlight[key]++
	n, calm := j.inFlight[key], j.isCalm
	j.mu.Unlock()
	if calm && n > j.trial.atOnce(r.URL.Path) {
		j.trial.broken("I6", "the origin is asked for %s %d times at once, and nothing is wrong", key, n)
	}
	return func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		if j.inFlight[key]--; j.inFlight[key] == 0 {
			delete(j.inFlight, key)
		}
	}
}

// judge checks one response. floor is what the node had obeyed when it was asked.
func (j *judge) judge(name, path string, floor uint64, r Result) {
	tr, end := j.trial, r.Start.Add(r.Total)
	excused := j.excused(name, r.Start, end)
	tr.mu.Lock()
	tr.report.Requests++
	switch {
	case r.Err == nil:
		tr.report.Right++
	case excused:
		tr.report.Excused++
	}
	tr.mu.Unlock()
	j.count(name, r)
	if r.Err != nil && !soft(r.Err) {
		tr.broken("I1/I3", "%s gave a wrong response: %s; %s; age %d, head after %s", name, r, r.Header.Values("Cache-Status"), r.Age, r.Head)
	}
	if r.Err != nil && !excused && !j.replaced(path, r) {
		tr.broken("N9", "%s failed, and nothing was wrong with it: %s; %s, after %s", name, r, r.Header.Values("Cache-Status"), r.Total)
	}
	if !excused && r.Total > trialLimit {
		tr.broken("I10", "%s took %s: %s", name, r.Total, r)
	}
	j.version(name, path, floor, r)
	j.path(name, r)
	j.age(name, path, r)
}

// replaced says whether a response broke off that could not go on, elsewhere or
// with further slices, because there is another version by now.
func (j *judge) replaced(path string, r Result) bool {
	return r.Body == BodyAborted && r.Version < j.trial.oracle.Version(trialSite, path, r.Start.Add(r.Total))
}

// version checks I2.
func (j *judge) version(name, path string, floor uint64, r Result) {
	if r.Version == 0 {
		return
	}
	o := j.trial.oracle
	oldest := o.Version(trialSite, path, r.Start.Add(-boundOf(path)-ageSlack))
	newest := o.Version(trialSite, path, r.Start.Add(r.Total))
	if r.Version < oldest || r.Version > newest {
		j.trial.broken("I2", "%s served version %d, legal are %d to %d: %s; %s", name, r.Version, oldest, newest, r, r.Header.Values("Cache-Status"))
	}
	if r.Version < floor {
		j.trial.broken("I2", "%s served version %d, and had obeyed a purge of all before %d: %s; %s", name, r.Version, floor, r, r.Header.Values("Cache-Status"))
	}
}

// path checks I11: no response went round.
func (j *judge) path(name string, r Result) {
	seen := map[string]bool{}
	for _, c := range r.CacheStatus {
		if seen[c.Cache] || len(r.CacheStatus) > mostHops {
			j.trial.broken("I11", "%s gave what came by %q", name, r.Header.Values("Cache-Status"))
			return
		}
		seen[c.Cache] = true
	}
}

// age checks I15: the Age of one stored response never falls.
func (j *judge) age(name, path string, r Result) {
	if r.Age < 0 || r.Outcome() != "hit" {
		return
	}
	j.mu.Lock()
	key, now := name+path, lastAge{r.Header.Get("Date"), r.Age, r.Start.Add(r.Head)}
	old := j.ages[key]
	if r.Start.After(old.at) {
		j.ages[key] = now
	}
	j.mu.Unlock()
	if old.date == now.date && r.Start.After(old.at) && now.age < old.age {
		j.trial.broken("I15", "%s said age %d, and %s later %d: %s", name, old.age, now.at.Sub(old.at), now.age, r)
	}
}

// count adds up what clients got from a node.
func (j *judge) count(name string, r Result) {
	if r.Status == 0 {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	v := j.got[name]
	v.Requests++
	v.Bytes += r.Bytes
	j.got[name] = v
}

// sums checks I18: a node counted what its clients got.
func (j *judge) sums(name string, v View) {
	j.mu.Lock()
	got := j.got[name]
	found := v.Corrupt - got.Corrupt
	got.Corrupt = v.Corrupt
	j.got[name] = got
	j.mu.Unlock()
	j.trial.mu.Lock()
	j.trial.report.Corrupt += int(found)
	j.trial.mu.Unlock()
	if v.Requests < got.Requests || v.Bytes < got.Bytes {
		j.trial.broken("I18", "%s counted %d requests and %d bytes, its clients got %d and %d", name, v.Requests, v.Bytes, got.Requests, got.Bytes)
	}
}

// class is a kind of objects of a Trial.
type class struct {
	name    string
	objects int
	rule    Rule
	bound   time.Duration // how old a response may be at most
}

// viewerField says who asks for what is each viewer's own: no other may get it (I4).
const viewerField = "X-Viewer"

// classes are live playlists, segments of several sizes and lifetimes, films
// that are kept in slices, and what each viewer has another one of.
func classes() []class {
	return []class{
		{"live", 5, Rule{Size: 2 << 10, CacheControl: "max-age=2", Every: 4 * time.Second}, 2 * time.Second},
		{"strict", 30, Rule{Size: 8 << 10, CacheControl: "max-age=30, must-revalidate"}, 30 * time.Second},
		{"plain", 50, Rule{Size: 20 << 10, CacheControl: "max-age=600"}, 600 * time.Second},
		{"kept", 30, Rule{Size: 64 << 10, CacheControl: "max-age=20, stale-while-revalidate=10, stale-if-error=120"}, 140 * time.Second},
		{"film", 2, Rule{Size: 9 << 20, CacheControl: "max-age=300"}, 300 * time.Second},
		{"own", 5, Rule{Size: 4 << 10, CacheControl: "private, max-age=600", Keyed: []string{viewerField}}, 0},
	}
}

// atOnce is how often the origin may be asked for the same at once while nothing is
// wrong: once. The head of a film and its slices have owners of their own, which
// may come to wait for one another; then each asks the origin itself.
func (tr *trial) atOnce(path string) int {
	switch {
	case strings.HasPrefix(path, "/film/"):
		return len(tr.names)
	case strings.HasPrefix(path, "/own/"): // nobody waits for another one's
		return math.MaxInt
	}
	return 1
}

func boundOf(path string) time.Duration {
	for _, c := range classes() {
		if strings.HasPrefix(path, "/"+c.name+"/") {
			return c.bound
		}
	}
	return 0
}

// rules tells the oracle what there is.
func (tr *trial) rules() {
	for _, c := range classes() {
		tr.oracle.SetRule("/"+c.name+"/*", c.rule)
		for i := range c.objects {
			tr.paths = append(tr.paths, "/"+c.name+"/"+strconv.Itoa(i))
		}
	}
	random := rand.New(rand.NewPCG(tr.options.Seed, 2))
	random.Shuffle(len(tr.paths), func(i, k int) { tr.paths[i], tr.paths[k] = tr.paths[k], tr.paths[i] })
}

const (
	crowdShare   = 0.02 // of arrivals are a crowd
	crowdClients = 20
	rangeBytes   = 100_000
)

// load asks for objects until ctx ends.
func (tr *trial) load(ctx context.Context) {
	random := rand.New(rand.NewPCG(tr.options.Seed, 3))
	zipf := newZipf(len(tr.paths))
	var asks sync.WaitGroup
	defer asks.Wait()
	for {
		wait := time.Duration(random.ExpFloat64() / tr.options.RequestsPerSecond * float64(time.Second))
		if !pause(ctx, max(wait, 1), nil) {
			return
		}
		path, clients := tr.paths[zipf.pick(random)], 1
		if random.Float64() < crowdShare {
			clients = crowdClients
		}
		var options Options
		if size := tr.oracle.Rule(trialSite, path).Size; size > 1<<20 || random.IntN(20) == 0 {
			from := random.Int64N(size)
			options.Range = fmt.Sprintf("bytes=%d-%d", from, min(from+rangeBytes, size)-1)
		}
		for range clients {
			name := tr.names[random.IntN(len(tr.names))]
			each := options
			if strings.HasPrefix(path, "/own/") {
				each.Header = http.Header{viewerField: {strconv.Itoa(random.IntN(crowdClients))}}
			}
			asks.Go(func() { tr.ask(ctx, name, path, each) })
		}
	}
}

// ask is one client.
func (tr *trial) ask(ctx context.Context, name, path string, options Options) {
	ctx, cancel := context.WithTimeout(ctx, trialTimeout)
	defer cancel()
	floor := tr.judge.floor(name, path)
	result := tr.clients[name].Get(ctx, "http://"+trialSite+path, options)
	if errors.Is(ctx.Err(), context.Canceled) {
		return // the trial is over
	}
	tr.judge.judge(name, path, floor, result)
}

// editTime is the mean time between two changes of an object.
const editTime = 8 * time.Second

// edit makes new versions, and purges most of the old ones.
func (tr *trial) edit(ctx context.Context) {
	random := rand.New(rand.NewPCG(tr.options.Seed, 4))
	zipf := newZipf(len(tr.paths))
	var purges sync.WaitGroup
	defer purges.Wait()
	for pause(ctx, time.Duration(random.ExpFloat64()*float64(editTime))+1, nil) {
		path, name := tr.paths[zipf.pick(random)], tr.names[random.IntN(len(tr.names))]
		tr.oracle.Bump(path, time.Now())
		tr.mu.Lock()
		tr.report.Versions++
		tr.mu.Unlock()
		if random.IntN(3) == 0 || tr.judge.excused(name, time.Now().Add(-excuseTime), time.Now()) {
			continue
		}
		purges.Go(func() { tr.purge(name, path) })
	}
}

func (tr *trial) purge(name, path string) {
	version := tr.oracle.Version(trialSite, path, time.Now())
	acknowledged, err := tr.lab.Purge(name, "http://"+trialSite+path)
	if err != nil {
		if !tr.judge.excused(name, time.Now().Add(-time.Minute), time.Now()) {
			tr.broken("I13", "%s does not purge %s: %v", name, path, err)
		}
		return
	}
	tr.mu.Lock()
	tr.report.Purges++
	tr.mu.Unlock()
	tr.judge.purged(path, version, acknowledged)
}

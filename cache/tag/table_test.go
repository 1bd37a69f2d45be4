package tag

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"
)

// at is a time of the tests' clock.
func at(n int) time.Time { return time.Unix(1_800_000_000, int64(n)).UTC() }

// late is later than all of them.
func late() time.Time { return at(1 << 40) }

func newTable(t testing.TB, o Options) *Table {
	t.Helper()
	table, err := New(o, at(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { table.Close() })
	return table
}

func apply(t testing.TB, table *Table, p Purge) {
	t.Helper()
	if err := table.Purge(p); err != nil {
		t.Fatal(err)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	const url = "v.example/vod/demo/1.m4s?a=b"
	tags := []string{"title-1", "live"}
	many := make([]string, MaxTags+1)
	for i := range many {
		many[i] = fmt.Sprint("t", i)
	}
	tests := []struct {
		name    string
		purge   Purge
		url     string
		tags    []string
		fetched int
		want    Verdict
	}{
		{"url", Purge{Kind: URL, Items: []string{"x", url}}, url, nil, 9, Verdict{Hard: true}},
		{"at the same time", Purge{Kind: URL, Items: []string{url}}, url, nil, 10, Verdict{Hard: true}},
		{"fetched later", Purge{Kind: URL, Items: []string{url}}, url, nil, 11, Verdict{}},
		{"another url", Purge{Kind: URL, Items: []string{url}}, url + "c", nil, 9, Verdict{}},
		{"a part of it", Purge{Kind: URL, Items: []string{url[:20]}}, url, nil, 9, Verdict{}},
		{"soft", Purge{Kind: URL, Items: []string{url}, Soft: true}, url, nil, 9, Verdict{Soft: at(10)}},
		{"prefix", Purge{Kind: Prefix, Items: []string{"v.example/vod/"}}, url, nil, 9, Verdict{Hard: true}},
		{"the whole as prefix", Purge{Kind: Prefix, Items: []string{url}}, url, nil, 9, Verdict{Hard: true}},
		{"prefix of a host", Purge{Kind: Prefix, Items: []string{"v.example/"}}, url, nil, 9, Verdict{Hard: true}},
		{"prefix that is longer", Purge{Kind: Prefix, Items: []string{url + "x"}}, url, nil, 9, Verdict{}},
		{"prefix elsewhere", Purge{Kind: Prefix, Items: []string{"v.example/live/"}}, url, nil, 9, Verdict{}},
		{"one of several prefixes", Purge{Kind: Prefix, Items: []string{"v.example/live/", "w", "v.example/vod"}}, url, nil, 9, Verdict{Hard: true}},
		{"prefix, soft", Purge{Kind: Prefix, Items: []string{"v"}, Soft: true}, url, nil, 9, Verdict{Soft: at(10)}},
		{"tag", Purge{Kind: Tag, Items: []string{"title-1"}}, url, tags, 9, Verdict{Hard: true}},
		{"tag, soft", Purge{Kind: Tag, Items: []string{"live"}, Soft: true}, url, tags, 9, Verdict{Soft: at(10)}},
		{"tag of others", Purge{Kind: Tag, Items: []string{"title-2"}}, url, tags, 9, Verdict{}},
		{"tags heed case", Purge{Kind: Tag, Items: []string{"LIVE"}}, url, tags, 9, Verdict{}},
		{"a tag is no url", Purge{Kind: Tag, Items: []string{url}}, url, tags, 9, Verdict{}},
		{"a url is no prefix", Purge{Kind: URL, Items: []string{"v.example/"}}, url, tags, 9, Verdict{}},
		{"too many tags", Purge{Kind: Tag, Items: []string{"anything"}}, url, many, 9, Verdict{Hard: true}},
		{"as many as are told apart", Purge{Kind: Tag, Items: []string{"anything"}}, url, many[1:], 9, Verdict{}},
		{"group", Purge{Kind: Tag, Items: []string{Group("v.example", "g")}}, url, []string{Group("v.example", "g")}, 9, Verdict{Hard: true}},
		{"group of another host", Purge{Kind: Tag, Items: []string{Group("v.example", "g")}}, url, []string{Group("w.example", "g")}, 9, Verdict{}},
		{"all", Purge{Kind: All}, url, nil, 9, Verdict{Hard: true}},
		{"all, fetched later", Purge{Kind: All}, url, nil, 11, Verdict{}},
		{"all, soft", Purge{Kind: All, Soft: true}, url, nil, 9, Verdict{Soft: at(10)}},
	}
	for _, tt := range tests {
		table := newTable(t, Options{})
		if got := table.Check(tt.url, Set(tt.tags), at(tt.fetched), late()); got != (Verdict{}) {
			t.Errorf("%s: got %v before any purge", tt.name, got)
		}
		tt.purge.Time = at(10)
		apply(t, table, tt.purge)
		got := table.Check(tt.url, Set(tt.tags), at(tt.fetched), late())
		if got.Hard != tt.want.Hard || !got.Soft.Equal(tt.want.Soft) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestUnknownFetchTimes: whatever may have been fetched before a purge counts as fetched before.
func TestUnknownFetchTimes(t *testing.T) {
	t.Parallel()
	table := newTable(t, Options{})
	apply(t, table, Purge{Time: at(10), Kind: URL, Items: []string{"a/"}})
	if v := table.Check("a/", nil, time.Time{}, at(99)); !v.Hard {
		t.Error("a response of unknown time is not purged")
	}
	if v := table.Check("a/", nil, at(50), at(49)); !v.Hard {
		t.Error("a response from the clock's future is not purged")
	}
	if v := table.Check("a/", nil, at(50), at(50)); v != (Verdict{}) {
		t.Errorf("a response of now: got %v", v)
	}
	if v := table.Check("b/", nil, time.Time{}, at(99)); v != (Verdict{}) {
		t.Errorf("another one of unknown time: got %v", v)
	}
}

func TestSoftAfterHardAndHardAfterSoft(t *testing.T) {
	t.Parallel()
	table := newTable(t, Options{})
	apply(t, table, Purge{Time: at(10), Kind: URL, Items: []string{"a"}})
	apply(t, table, Purge{Time: at(20), Kind: Tag, Items: []string{"t"}, Soft: true})
	for fetched, want := range map[int]Verdict{5: {true, at(20)}, 15: {false, at(20)}, 25: {}} {
		if got := table.Check("a", Set([]string{"t"}), at(fetched), late()); got.Hard != want.Hard || !got.Soft.Equal(want.Soft) {
			t.Errorf("fetched at %d: got %v, want %v", fetched, got, want)
		}
	}
}

func TestStamp(t *testing.T) {
	t.Parallel()
	table := newTable(t, Options{})
	for i, tt := range []struct {
		do        func()
		now, want int
	}{
		{nil, 10, 10},
		{nil, 10, 11}, // not twice
		{nil, 5, 12},  // not back
		{nil, 40, 40},
		{func() { apply(t, table, Purge{Time: at(60), Kind: All}) }, 50, 61}, // not before a purge of others
		{nil, 70, 70},
	} {
		if tt.do != nil {
			tt.do()
		}
		if got := table.Stamp(at(tt.now)); !got.Equal(at(tt.want)) {
			t.Errorf("%d: at %d got %v, want %v", i, tt.now, got, at(tt.want))
		}
	}
}

func TestMalformedPurges(t *testing.T) {
	t.Parallel()
	table := newTable(t, Options{})
	for name, p := range map[string]Purge{
		"no time":    {Kind: All},
		"no kind":    {Time: at(1)},
		"no such":    {Time: at(1), Kind: "host", Items: []string{"a"}},
		"empty item": {Time: at(1), Kind: Prefix, Items: []string{"a", ""}},
		"long item":  {Time: at(1), Kind: URL, Items: []string{strings.Repeat("a", maxLength+1)}},
	} {
		if err := table.Purge(p); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
	if v := table.Check("a", nil, at(0), late()); v != (Verdict{}) {
		t.Errorf("got %v from malformed purges", v)
	}
	for _, o := range []Options{{URLs: 3}, {Tags: -1}, {Prefixes: 1}} {
		if _, err := New(o, at(0)); err == nil {
			t.Errorf("%+v: got no error", o)
		}
	}
}

// model is the table as one would write it down: every purge, and a search through all of them.
type model []Purge

func (m model) check(url string, tags []string, fetched time.Time) (v Verdict) {
	for _, p := range m {
		if fetched.After(p.Time) || !covers(p, url, tags) {
			continue
		}
		if !p.Soft {
			v.Hard = true
		} else if p.Time.After(v.Soft) {
			v.Soft = p.Time
		}
	}
	return v
}

func covers(p Purge, url string, tags []string) bool {
	for _, item := range p.Items {
		switch p.Kind {
		case All:
			return true
		case URL:
			if item == url {
				return true
			}
		case Prefix:
			if strings.HasPrefix(url, item) {
				return true
			}
		case Tag:
			for _, tag := range tags {
				if item == tag {
					return true
				}
			}
		}
	}
	return p.Kind == All
}

// TestRandomWalk holds the table to the model: equal while names are told apart, never milder once they are not, and
// the same after the file was read again.
func TestRandomWalk(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{"roomy": {}, "full": {URLs: 8, Prefixes: 8, Tags: 8}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			random := rand.New(rand.NewPCG(seed, 0))
			o.File = t.TempDir() + "/purges"
			table := newTable(t, o)
			var m model
			word := func() string { return fmt.Sprintf("%c/%d", 'a'+random.IntN(3), random.IntN(40)) }
			for step := range 3000 {
				if random.IntN(3) == 0 {
					p := Purge{Time: at(random.IntN(1000)), Kind: Kinds()[random.IntN(3)], Soft: random.IntN(3) == 0}
					if random.IntN(200) == 0 {
						p.Kind = All
					}
					for range 1 + random.IntN(3) {
						p.Items = append(p.Items, word()[:1+random.IntN(3)])
					}
					m = append(m, p)
					if err := table.Invalidate(p); err != nil {
						t.Fatal(err)
					}
				}
				if random.IntN(300) == 0 {
					table.Close()
					table = newTable(t, o)
				}
				url, tags, fetched := word()[:1+random.IntN(3)], []string{word()[:3]}, at(random.IntN(1100))
				got, want := table.Check(url, Set(tags), fetched, late()), m.check(url, tags, fetched)
				if !got.Soft.IsZero() {
					got.Soft = table.Time(got.Soft) // whose clock is ahead after a restart
				}
				switch {
				case name == "roomy" && (got.Hard != want.Hard || !want.Hard && !got.Soft.Equal(want.Soft)):
					t.Fatalf("step %d, %s %v fetched at %v: got %v, want %v", step, url, tags, fetched, got, want)
				case want.Hard && !got.Hard, !want.Soft.IsZero() && !got.Hard && got.Soft.Before(want.Soft):
					t.Fatalf("step %d, %s %v fetched at %v: got %v, milder than %v", step, url, tags, fetched, got, want)
				}
			}
			if s := table.Stats(); s.Names > 3*max(o.URLs, DefaultPrefixes) {
				t.Errorf("%d names", s.Names)
			}
		})
	}
}

// TestFoldingSparesTheRest: what is forgotten takes little with it, and nothing that was fetched later.
func TestFoldingSparesTheRest(t *testing.T) {
	t.Parallel()
	const limit = 1 << 10
	table := newTable(t, Options{URLs: limit})
	for i := range limit + limit/8 {
		apply(t, table, Purge{Time: at(i + 1), Kind: URL, Items: []string{fmt.Sprint("purged/", i)}})
	}
	if s := table.Stats(); s.Folded != limit/4 || s.Names > limit {
		t.Fatalf("got %+v, want %d folded", s, limit/4)
	}
	lost := 0
	for i := range limit {
		if !table.Check(fmt.Sprint("purged/", i), nil, at(i), late()).Hard {
			t.Errorf("%d is forgotten", i)
		}
		url := fmt.Sprint("other/", i)
		if table.Check(url, nil, at(0), late()).Hard {
			lost++
		}
		if v := table.Check(url, nil, at(limit/4+1), late()); v != (Verdict{}) {
			t.Errorf("%s was fetched after what is folded: got %v", url, v)
		}
	}
	if lost == 0 || lost > limit/8 {
		t.Errorf("%d of %d others went along, want about one in sixteen", lost, limit)
	}
}

// TestReadersSeeWholePurges: whoever asks after Purge has returned knows of it, whatever grows or is folded meanwhile.
func TestReadersSeeWholePurges(t *testing.T) {
	t.Parallel()
	table := newTable(t, Options{URLs: 64, Tags: 64, Prefixes: 64})
	var wg sync.WaitGroup
	for writer := range 4 {
		wg.Go(func() {
			for i := range 300 {
				name := fmt.Sprint(writer, "-", i)
				for _, kind := range []Kind{URL, Prefix, Tag} {
					if err := table.Purge(Purge{Time: at(1 + i), Kind: kind, Items: []string{name + string(kind)}}); err != nil {
						t.Error(err)
					}
				}
				for _, url := range []string{name + "url", name + "prefix/more"} {
					if !table.Check(url, nil, at(i), late()).Hard {
						t.Errorf("%s is not purged", url)
					}
				}
				if !table.Check("other", Set([]string{name + "tag"}), at(i), late()).Hard {
					t.Errorf("the tag %s is not purged", name)
				}
			}
		})
	}
	wg.Wait()
}

func TestCheckAllocatesNothing(t *testing.T) {
	table, url, tags := busy(t)
	for name, fetched := range map[string]time.Time{"before": at(1), "after": at(1 << 20)} {
		if n := testing.AllocsPerRun(100, func() { table.Check(url, tags, fetched, late()) }); n != 0 {
			t.Errorf("fetched %s the purges: %v allocations", name, n)
		}
	}
}

// busy has 1,000 purges of each kind that leave the URL alone.
func busy(t testing.TB) (table *Table, url string, tags []uint64) {
	t.Helper()
	table = newTable(t, Options{})
	for i := range 1000 {
		for _, kind := range []Kind{URL, Prefix, Tag} {
			apply(t, table, Purge{Time: at(10 + i), Kind: kind, Items: []string{fmt.Sprintf("video.example.com/vod/%d/", i)}})
		}
	}
	return table, "video.example.com/vod/demo/video/1080p/segment-00017.m4s", Set([]string{"a", "b", "c", "d"})
}

func BenchmarkCheck(b *testing.B) {
	table, url, tags := busy(b)
	now := late()
	for name, fetched := range map[string]time.Time{"before": at(1), "after": at(1 << 20)} {
		b.Run("fetched "+name+" the purges", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					table.Check(url, tags, fetched, now)
				}
			})
		})
	}
}

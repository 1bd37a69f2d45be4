package replay

import (
	"bytes"
	"compress/gzip"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

const accessLog = `{"time":"2026-10-01T10:00:00Z","host":"h","method":"GET","path":"/vod/demo/720p/seg-00001.m4s","status":200,"bytes":500,"outcome":"miss"}
{"time":"2026-10-01T10:00:02Z","host":"h","method":"GET","path":"/vod/demo/720p/seg-00001.m4s","status":206,"bytes":600,"outcome":"hit"}
{"time":"2026-10-01T10:00:01Z","host":"h","method":"GET","path":"/vod/demo/720p/seg-00002.m4s","status":200,"bytes":700,"outcome":"collapsed"}
{"time":"2026-10-01T10:00:03Z","host":"h","method":"POST","path":"/x","status":200,"bytes":1,"outcome":"pass"}
{"time":"2026-10-01T10:00:03Z","host":"h","method":"GET","path":"/y","status":502,"bytes":1,"outcome":"error"}
`

func gzipped(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, s)
	_ = z.Close()
	return b.String()
}

func TestRead(t *testing.T) {
	t.Parallel()
	const csv = csvHeader + "\n0,0,v,3,1,0,1000\n0,0,v,3,0,0,100\n6000,0,v,3,1,1,1100\n6000,1,l,3,1,0,900\n7000,1,v,3,1,0,1000\n"
	for _, c := range []struct {
		name, in, format  string
		requests, objects int
		footprint         int64
		last              time.Duration
	}{
		{"csv", csv, "csv", 5, 4, 3100, 7 * time.Second},
		{"gzip", gzipped(csv), "csv", 5, 4, 3100, 7 * time.Second},
		{"lines", "1 7 100\n2 8 50\n3 7 999\n", "lines", 3, 2, 150, 2 * tick},
		{"ids", "\x00\x00\x00\x05\x00\x00\x00\x06\x00\x00\x00\x05", "ids", 3, 2, 2, 2 * tick},
		{"log", accessLog, "access log", 3, 2, 1300, 2 * time.Second},
	} {
		trace, err := Read(strings.NewReader(c.in))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		last := trace.Requests[len(trace.Requests)-1].At
		if trace.Format != c.format || len(trace.Requests) != c.requests || len(trace.Objects) != c.objects || trace.Footprint() != c.footprint || last != c.last {
			t.Errorf("%s: %s, %d requests, %d objects of %d bytes, last at %v; want %+v", c.name, trace.Format, len(trace.Requests), len(trace.Objects),
				trace.Footprint(), last, c)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, want string }{
		{"", "empty"},
		{"\xfd7zXZ\x00rest", "unpack it first"},
		{csvHeader + "\n1,2,v\n", "line 2"},
		{csvHeader + "\n1,2,x,0,0,0,0\n", "neither v nor l"},
		{csvHeader + "\n1,2,v,0,0,0,-5\n", "no number"},
		{"1 2 3\n4 5\n", "line 2"},
		{"{}\n{\n", "line 2"},
		{`{"method":"POST"}`, "no requests"},
	} {
		if _, err := Read(strings.NewReader(c.in)); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Read(%.20q): %v, want %q", c.in, err, c.want)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, text := range []string{accessLog, csvHeader + "\n0,0,v,3,1,0,1000\n", "1 7 100\n2 8 50\n", "\x00\x00\x00\x05", "\x1f\x8b", gzipped("1 2 3")} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		trace, err := Read(strings.NewReader(text))
		if err != nil {
			return
		}
		last := time.Duration(0)
		for _, r := range trace.Requests {
			if int(r.Object) >= len(trace.Objects) || trace.Objects[r.Object].Bytes <= 0 || r.At < 0 {
				t.Fatalf("request %+v of %d objects", r, len(trace.Objects))
			}
			last = max(last, r.At)
		}
	})
}

// By hand: two objects fit.
func TestPoliciesByHand(t *testing.T) {
	t.Parallel()
	trace, err := Read(strings.NewReader("1 1 10\n2 2 10\n3 3 10\n4 1 10\n5 2 10\n6 1 10\n7 9 99\n"))
	if err != nil {
		t.Fatal(err)
	}
	for policy, want := range map[string]int64{"lru": 1, "arc": 1, "belady": 3} {
		for _, p := range Policies() {
			if p.Name != policy {
				continue
			}
			r, err := Run(trace, p, 20, 0)
			if err != nil || r.Hits != want || r.Requests != 7 || r.HitBytes != 10*want || r.Bytes != 159 {
				t.Errorf("%s: %+v, %v, want %d hits", policy, r, err, want)
			}
		}
	}
}

func TestChartIsXML(t *testing.T) {
	t.Parallel()
	for _, shares := range [][]float64{{0.05}, {0.001, 0.01, 0.1}} {
		var results []Result
		for i, p := range Policies() {
			for _, s := range shares {
				results = append(results, Result{Policy: p.Name, Share: s, ByteHit: 0.1 + float64(i)*s})
			}
		}
		var b bytes.Buffer
		if err := Chart(&b, "a <trace> & more", results); err != nil {
			t.Fatal(err)
		}
		names := 0
		for d := xml.NewDecoder(&b); ; {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if e, ok := token.(xml.StartElement); ok && e.Name.Local == "polyline" {
				names++
			}
		}
		if names != len(Policies()) {
			t.Errorf("%d lines, want %d", names, len(Policies()))
		}
	}
}

func TestTableAndCSV(t *testing.T) {
	t.Parallel()
	results := []Result{{Policy: "weir", Share: 0.05, ByteHit: 0.171, ObjectHit: 0.2}, {Policy: "lru", Share: 0.05, ByteHit: 0.069, BudgetBytes: 7}}
	var table, csv strings.Builder
	if err := errors.Join(Table(&table, results), CSV(&csv, results)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"BYTE HIT     5%", "    weir   17.1", "     lru    6.9", "OBJECT HIT     5%"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("no %q in\n%s", want, table.String())
		}
	}
	if want := "lru,0.050000,7,0,0,0.000000,0.069000\n"; !strings.HasSuffix(csv.String(), want) {
		t.Errorf("got %q, want %q", csv.String(), want)
	}
}

package cmcd

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, in, want string
		ignored        int
	}{
		{"version 1", `bl=21300,br=3200,bs,cid="faec5fc2",d=4004,dl=18500,mtp=48100,nor="..%2F300kbps%2Fsegment35.m4v",ot=v,pr=1.08,rtp=12000,sf=h,sid="6e2fb550",st=v,su,tb=6000`, `bl=21300,br=3200,bs,cid="faec5fc2",d=4004,dl=18500,mtp=48100,nor=("../300kbps/segment35.m4v"),ot=v,pr=1.08,rtp=12000,sf=h,sid="6e2fb550",st=v,su,tb=6000`, 0},
		{"version 2", `br=(5000;v 320;a),ec=("E1" "E2"),nor=("a.m4s";r="0-99" "b.m4s"),sta=p,v=2`, `br=(5000;v 320;a),ec=("E1" "E2"),nor=("a.m4s";r="0-99" "b.m4s"),sta=p,v=2`, 0},
		{"a list of one", `br=(5000),v=2`, `br=5000,v=2`, 0},
		{"a list in version 1", `br=(5000;av)`, `br=(5000;av)`, 0},
		{"nrr goes with nor", `nor="a",nrr="5-9"`, `nor=("a";r="5-9"),nrr="5-9"`, 0},
		{"false", `bs=?0,su=?1`, `bs=?0,su`, 0},
		{"order and spaces", ` su , 	bl=100 `, `bl=100,su`, 0},
		{"the last of two", `bl=100,bl=200`, `bl=200`, 0},
		{"unknown keys", `zz=1,com.example-a="b",bl=1,Bl=2`, `bl=1`, 0},
		{"unknown types", `bl="x",br=v,su=1,ot=5,sid=abc,d=5`, `d=5`, 5},
		{"a string for a token", `ot="v",sf="",st="a b"`, `ot=v`, 2},
		{"a decimal for an integer", `bl=100.7,br=(9.9)`, `bl=100,br=9`, 0},
		{"negative", `bl=-1,d=-5,pt=-5`, `pt=-5`, 2},
		{"bare text for a string", `sid=6e2fb550-c457-11e9,bl=1`, `bl=1`, 1},
		{"no value", `bl=,br=1,=,,d=2`, `br=1,d=2`, 2},
		{"an open string", `br=1,sid="abc,d=5`, `br=1`, 1},
		{"an open list", `br=(1 2,d=5`, `d=5`, 1},
		{"a number too long", `bl=1234567890123456,d=1`, `d=1`, 1},
		{"something behind", `bl=5abc,d=1`, `d=1`, 1},
		{"too long", `sid="` + strings.Repeat("x", 65) + `",cid="` + strings.Repeat("x", 128) + `"`, `cid="` + strings.Repeat("x", 128) + `"`, 1},
		{"escapes", `sid="a\"b\\c"`, `sid="a\"b\\c"`, 0},
		{"parameters", `bl=5;x=1;y,d=1;z="a,b"`, `bl=5,d=1`, 0},
		{"control characters", `nor="a%00",d=1`, `d=1`, 1},
		{"an empty list", `br=(),d=1`, `d=1`, 1},
		{"nothing", ``, ``, 0},
		{"version 1 said", `v=1,bl=1`, `bl=1,v=1`, 0},
	} {
		var r Report
		if err := r.Parse([]byte(test.in)); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if got := string(r.AppendTo(nil)); got != test.want || r.Ignored() != test.ignored {
			t.Errorf("%s: got %s with %d ignored, want %s with %d", test.name, got, r.Ignored(), test.want, test.ignored)
		}
	}
}

func TestNewer(t *testing.T) {
	t.Parallel()
	var r Report
	for _, text := range []string{"bl=1,v=3", "v=0"} {
		if err := r.Parse([]byte(text)); !errors.Is(err, ErrNewer) || !r.Empty() {
			t.Errorf("%s: got %v, %s", text, err, r.AppendTo(nil))
		}
	}
	if err := r.Parse(bytes.Repeat([]byte("a"), reportBytes+1)); !errors.Is(err, ErrLong) {
		t.Errorf("got %v", err)
	}
}

func TestRequest(t *testing.T) {
	t.Parallel()
	var r Report
	for _, test := range []struct {
		header http.Header
		query  string
		by     By
		want   string
	}{
		{nil, "", None, ""},
		{nil, "a=1&CMCDX=bl%3D1&XCMCD=bl%3D1", None, ""},
		{nil, "a=1&CMCD=bl%3D100%2Csid%3D%22a%2520b%22&b=2", Query, `bl=100,sid="a%20b"`},
		{nil, "XCMCD=1&CMCD=bl=5", Query, `bl=5`},
		{http.Header{"Cmcd-Object": {"br=1"}, "Cmcd-Session": {`sid="x"`, "v=2"}}, "CMCD=bl%3D1", Header, `br=1,sid="x",v=2`},
		{http.Header{"Cmcd-Status": {""}}, "CMCD=bl%3D1", Header, ``},
		{nil, "CMCD=%zz%4", Query, ``},
	} {
		by, err := r.ParseRequest(test.header, test.query)
		if got := string(r.AppendTo(nil)); by != test.by || err != nil || got != test.want {
			t.Errorf("%v %s: got %s by %s, %v; want %s by %s", test.header, test.query, got, by, err, test.want, test.by)
		}
	}
}

func TestInt(t *testing.T) {
	t.Parallel()
	var r Report
	if err := r.Parse([]byte("br=(320;a 5000;v),bl=7,pr=1.5,su,bs=?0,tb=(9;x)")); err != nil {
		t.Fatal(err)
	}
	if r.Int(Bitrate) != 5000 || r.Int(BufferLength) != 7 || r.Int(PlaybackRate) != 1500 || !r.Bool(Startup) || r.Bool(BufferStarvation) || r.Int(Deadline) != 0 || r.Int(TopBitrate) != 9 {
		t.Errorf("got %s", r.AppendTo(nil))
	}
	if audio, ok := r.Typed(Bitrate, Audio); !ok || audio != 320 {
		t.Errorf("got %d, %v", audio, ok)
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		kind, body string
		want       []string
		bad        int
		err        bool
	}{
		{"application/cmcd", "e=ps,sta=p,ts=5,v=2\ne=t,ts=6,v=2\n", []string{"e=ps,sta=p,ts=5,v=2", "e=t,ts=6,v=2"}, 0, false},
		{"text/cmcd; charset=utf-8", "e=t,v=2\r\n\r\nv=3,e=t\ngarbage=\ne=e,ec=(\"x\"),v=2", []string{"e=t,v=2", `e=e,ec=("x"),v=2`}, 2, false},
		{"application/json", `[{"e":"t","ts":5,"br":[5000],"su":true,"bs":false,"sid":"a\"b","zz":1,"nor":["a"]},7]`, []string{`br=5000,bs=?0,e=t,nor=("a"),sid="a\"b",su,ts=5`}, 1, false},
		{"application/json", "{\"e\":\"t\"}\n{\"e\":\"e\"}", []string{"e=t", "e=e"}, 0, false},
		{"application/json", `{"e":`, nil, 0, true},
		{"text/plain", "e=t", nil, 0, true},
		{"", "e=t", nil, 0, true},
	} {
		var got []string
		bad, err := Events(test.kind, []byte(test.body), func(r *Report) bool {
			got = append(got, string(r.AppendTo(nil)))
			return true
		})
		if !slices.Equal(got, test.want) || bad != test.bad || (err != nil) != test.err {
			t.Errorf("%s %q: got %q, %d bad, %v", test.kind, test.body, got, bad, err)
		}
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	for k := range Key(nKeys) {
		if got, ok := keyOf([]byte(k.String())); !ok || got != k {
			t.Errorf("%s is found as %s", k, got)
		}
	}
}

// typical is what a player sends with a segment, with more keys than most.
const typical = `bl=(21300),br=(3200;v),cid="faec5fc2-ac30-11ea",d=4004,dl=18500,mtp=(48100),nor=("..%2F300kbps%2Fsegment35.m4v"),ot=v,pr=1.08,rtp=12000,sf=h,sid="6e2fb550-c457-11e9-bb97-0800200c9a66",sn=12,st=v,sta=p,su,tb=(6000),v=2`

func TestNoAllocation(t *testing.T) {
	var r Report
	var b strings.Builder
	for i := range len(typical) {
		if c := typical[i]; c == '=' || c == ',' || c == '"' || c == '%' {
			b.WriteString("%" + strings.ToUpper(string("0123456789abcdef"[c>>4])+string("0123456789abcdef"[c&15])))
		} else {
			b.WriteByte(c)
		}
	}
	query, header := "a=b&CMCD="+b.String(), http.Header{"Cmcd-Object": {"br=3200,ot=v"}, "Cmcd-Request": {"bl=21300,su"}, "Cmcd-Session": {`sid="6e2fb550"`}}
	dst := make([]byte, 0, 256)
	hop := Hop{Name: "edge-1", Throughput: 5000, Most: 3000, RTT: 12, Delay: -1}
	for name, run := range map[string]func(){
		"query":  func() { _, _ = r.ParseRequest(nil, query) },
		"header": func() { _, _ = r.ParseRequest(header, "") },
		"write":  func() { dst = hop.AppendTo(dst[:0]) },
	} {
		if n := testing.AllocsPerRun(100, run); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	if _, err := r.ParseRequest(nil, query); err != nil || !bytes.Equal(r.Text(SessionID), []byte("6e2fb550-c457-11e9-bb97-0800200c9a66")) {
		t.Errorf("got %s, %v", r.AppendTo(nil), err)
	}
}

// BenchmarkParse must stay under 1 µs.
func BenchmarkParse(b *testing.B) {
	var r Report
	b.ReportAllocs()
	for b.Loop() {
		if err := r.Parse([]byte(typical)); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(typical)
	f.Add(`br=(5000;v 320;a),ec=("E1" "E2"),nor=("a%20";r="0-99" "b"),bl=5abc,x="`)
	f.Fuzz(func(t *testing.T, text string) {
		var r, again Report
		if r.Parse([]byte(text)) != nil {
			return
		}
		once := r.AppendTo(nil)
		if err := again.Parse(once); err != nil {
			if errors.Is(err, ErrLong) {
				return // escapes make it longer
			}
			t.Fatalf("%q becomes %q: %v", text, once, err)
		}
		// A path that still looks escaped is resolved once more: what is stable is all else.
		if twice := again.AppendTo(nil); !bytes.Contains(once, []byte("%")) && !bytes.Equal(once, twice) {
			t.Fatalf("%q becomes %q and then %q", text, once, twice)
		}
		if _, err := again.ParseRequest(nil, "CMCD="+text); err != nil && !errors.Is(err, ErrNewer) && !errors.Is(err, ErrLong) {
			t.Fatal(err)
		}
		if _, err := Events("application/json", []byte(text), func(*Report) bool { return true }); err != nil {
			return
		}
	})
}

const npm = "../../tools/proof/npm"

// library runs the industry's library on lines of input, and returns the lines that it prints.
func library(t *testing.T, input []byte, arguments ...string) []string {
	t.Helper()
	missing := t.Skip
	if os.Getenv("WEIR_REQUIRE_TOOLS") == "1" {
		missing = t.Fatal
	}
	node, err := exec.LookPath("node")
	if err != nil {
		missing("node is not installed: apt install nodejs")
	}
	if _, err := os.Stat(npm + "/node_modules/@svta/cml-cmcd"); err != nil {
		missing("@svta/cml-cmcd is not installed: npm ci --prefix tools/proof/npm")
	}
	cmd := exec.CommandContext(t.Context(), node, append([]string{"cmcd.mjs"}, arguments...)...)
	cmd.Dir, cmd.Stdin = npm, bytes.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node: %v\n%s", err, stderr.Bytes())
	}
	var lines []string
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		lines = append(lines, s.Text())
	}
	return lines
}

// TestLibrary reads what the library writes, as text, in a query and in fields, and has it read what is written here.
func TestLibrary(t *testing.T) {
	t.Parallel()
	const seed, count = "20260714", "500"
	var compare bytes.Buffer
	out := json.NewEncoder(&compare)
	lines := library(t, nil, "encode", seed, count)
	for _, line := range lines {
		var sent struct {
			Text, Query string
			Headers     map[string]string
		}
		if err := json.Unmarshal([]byte(line), &sent); err != nil {
			t.Fatal(err)
		}
		var r Report
		err := r.Parse([]byte(sent.Text))
		text := string(r.AppendTo(nil))
		if err != nil || r.Ignored() > 0 {
			t.Errorf("%s: %v, %d ignored: %s", sent.Text, err, r.Ignored(), text)
		}
		by, err := r.ParseRequest(nil, sent.Query)
		if got := string(r.AppendTo(nil)); err != nil || by != Query || got != text {
			t.Errorf("%s in a query: got %s by %s, %v", sent.Text, got, by, err)
		}
		header := http.Header{}
		for name, value := range sent.Headers {
			header.Set(name, value)
		}
		by, err = r.ParseRequest(header, "CMCD=bl%3D1")
		if got := string(r.AppendTo(nil)); err != nil || by != Header || got != text {
			t.Errorf("%s in fields: got %s by %s, %v", sent.Text, got, by, err)
		}
		if err := out.Encode(map[string]string{"theirs": sent.Text, "ours": text}); err != nil {
			t.Fatal(err)
		}
	}
	if len(lines) != 500 {
		t.Errorf("%d reports", len(lines))
	}
	for _, difference := range library(t, compare.Bytes(), "compare") {
		t.Errorf("the library reads another report: %s", difference)
	}
}

func TestHop(t *testing.T) {
	t.Parallel()
	hops := []Hop{
		{Name: `a "quoted\ name`, Throughput: 115, Most: 5000, RTT: 16, Delay: 3, Duress: true},
		{Name: "b\x00", RTT: -1, Delay: -1},
		{Name: "edge-1", Throughput: 20_000, Most: 1, RTT: 0, Delay: 0},
	}
	var field []byte
	for i := range hops {
		if i > 0 {
			field = append(field, ", "...)
		}
		field = hops[i].AppendTo(field)
	}
	if want := `"a \"quoted\\ name";du;etp=115;mb=5000;rd=3;rtt=16, "b", "edge-1";etp=20000;mb=1;rd=0;rtt=0`; string(field) != want {
		t.Errorf("got %s, want %s", field, want)
	}
	got := library(t, append(field, '\n'), "hops")
	want := []string{`[{"value":"a \"quoted\\ name","params":{"du":true,"etp":115,"mb":5000,"rd":3,"rtt":16}},{"value":"b"},{"value":"edge-1","params":{"etp":20000,"mb":1,"rd":0,"rtt":0}}]`}
	if !slices.Equal(got, want) {
		t.Errorf("the library reads %s, want %s", got, want)
	}
}

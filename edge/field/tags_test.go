package field

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestTags(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		header http.Header
		want   []string
	}{
		{"none", http.Header{"X": {"a"}}, nil},
		{"Surrogate-Key", http.Header{"Surrogate-Key": {"a b,c\t d ", "", "e"}}, []string{"a", "b,c", "d", "e"}},
		{"Cache-Tag", http.Header{"Cache-Tag": {"a, b c,,d ,", " e"}}, []string{"a", "b c", "d", "e"}},
		{"Edge-Cache-Tag", http.Header{"Edge-Cache-Tag": {"A,a"}}, []string{"A", "a"}},
		{"all", http.Header{"Surrogate-Key": {"a"}, "Cache-Tag": {"b"}, "Edge-Cache-Tag": {"c"}}, []string{"a", "b", "c"}},
	} {
		if got := Tags(tt.header); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestGroups(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		lines []string
		want  []string
		ok    bool
	}{
		{nil, nil, true},
		{[]string{""}, nil, true},
		{[]string{`"a"`}, []string{"a"}, true},
		{[]string{` "a", "b" `, `"c"`}, []string{"a", "b", "c"}, true},
		{[]string{`"a";x;y=1,"b, c"`}, []string{"a", "b, c"}, true},
		{[]string{`"a\"b\\c"`}, []string{`a"b\c`}, true},
		{[]string{`""`}, []string{""}, true},
		{[]string{`a`}, nil, false},
		{[]string{`"a", b`}, nil, false},
		{[]string{`"a" "b"`}, nil, false},
		{[]string{`"a",`}, nil, false},
		{[]string{`"a`}, nil, false},
		{[]string{`"a\x"`}, nil, false},
		{[]string{`("a" "b")`}, nil, false},
		{[]string{`"a";X`}, nil, false},
		{[]string{"\"caf\xe9\""}, nil, false},
	} {
		if got, ok := Groups(tt.lines); !slices.Equal(got, tt.want) || ok != tt.ok {
			t.Errorf("%q: got %q, %v, want %q, %v", tt.lines, got, ok, tt.want, tt.ok)
		}
	}
}

func FuzzGroups(f *testing.F) {
	for _, seed := range []string{``, `"a", "b";c=?1`, `"\"\\"`, `"a",`, `a`, `"a"  ,	"b"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		groups, ok := Groups([]string{line})
		if ok && !ValidList(line) {
			t.Errorf("%q is no List and has the groups %q", line, groups)
		}
		if !ok {
			return
		}
		var printed []string
		for _, group := range groups {
			printed = append(printed, string(appendString(nil, group)))
		}
		if again, ok := Groups(printed); !ok || !slices.Equal(again, groups) {
			t.Errorf("%q has the groups %q, printed and read again %q, %v", line, groups, again, ok)
		}
	})
}

func FuzzTags(f *testing.F) {
	for _, seed := range []string{"", "a b", "a, b,,c", " \t,", "a\x00b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		words := Tags(http.Header{"Surrogate-Key": {line}})
		if again := Tags(http.Header{"Surrogate-Key": {strings.Join(words, " ")}}); !slices.Equal(again, words) {
			t.Errorf("%q has the words %q, printed and read again %q", line, words, again)
		}
		tags := Tags(http.Header{"Cache-Tag": {line}})
		if again := Tags(http.Header{"Cache-Tag": {strings.Join(tags, ",")}}); !slices.Equal(again, tags) || slices.Contains(tags, "") {
			t.Errorf("%q has the tags %q, printed and read again %q", line, tags, again)
		}
	})
}

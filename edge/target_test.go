package edge

import (
	"errors"
	"strings"
	"testing"
)

func TestParseTarget(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, host, target string
		want               string // KeyText
		err                error
	}{
		{"plain", "Example.COM", "/a/b.m4s", "example.com/a/b.m4s", nil},
		{"port", "example.com:8443", "/", "example.com/", nil},
		{"final dot", "example.com.", "/", "example.com/", nil},
		{"IPv6", "[2001:DB8::1]:8443", "/", "[2001:db8::1]/", nil},
		{"IPv6 without port", "[::1]", "/", "[::1]/", nil},
		{"unreserved decoded", "h", "/%61%2Em4s%7e", "h/a.m4s~", nil},
		{"case of paths kept", "h", "/A.m4s", "h/A.m4s", nil},
		{"escapes in upper case", "h", "/a%2fb%3d", "h/a%2Fb%3D", nil},
		{"empty segments kept", "h", "//evil.example/x", "h//evil.example/x", nil},
		{"unwise bytes escaped", "h", "/a|b^c`{d}?|", "h/a%7Cb%5Ec%60%7Bd%7D?|", nil},
		{"IPv6, long", "[2001:0DB8:0:0:0:0:0:1]:80", "/", "[2001:db8::1]/", nil},
		{"brackets open", "[::1", "/", "", errHost},
		{"brackets twice", "[[::1]]", "/", "", errHost},
		{"IPv4 in brackets", "[127.0.0.1]", "/", "", errHost},
		{"a name in brackets", "[h]", "/", "", errHost},
		{"two final dots", "h..", "/", "", errHost},
		{"a dot before", ".h", "/", "", errHost},
		{"IPv6 with a zone", "[fe80::1%25eth0]", "/", "", errHost},
		{"query kept", "h", "/a?b=%7e&a&b=", "h/a?b=%7e&a&b=", nil},
		{"empty query", "h", "/a?", "h/a", nil},
		{"question mark in query", "h", "/a?b?c", "h/a?b?c", nil},
		{"CMCD dropped", "h", "/a?x=1&CMCD=bl%3D3&y", "h/a?x=1&y", nil},
		{"CMCD alone", "h", "/a?CMCD=bl%3D3", "h/a", nil},
		{"not quite CMCD", "h", "/a?CMCDx=1", "h/a?CMCDx=1", nil},
		{"dots in a name", "h", "/a..b/...", "h/a..b/...", nil},

		{"dot segment", "h", "/a/../b", "", errTargetDots},
		{"dot segment at the end", "h", "/a/..", "", errTargetDots},
		{"single dot", "h", "/./a", "", errTargetDots},
		{"escaped dots", "h", "/a/%2e%2E/b", "", errTargetDots},
		{"half escaped dots", "h", "/a/.%2e/b", "", errTargetDots},
		{"escaped slash and dots", "h", "/a%2f..%2fb", "", errTargetDots},
		{"dots before a parameter", "h", "/a/..;x/b", "", errTargetDots},
		{"NUL", "h", "/a%00b", "", errTargetByte},
		{"backslash", "h", `/a\b`, "", errTargetByte},
		{"escaped backslash", "h", "/a%5cb", "", errTargetByte},
		{"fragment", "h", "/a#b", "", errTargetByte},
		{"space", "h", "/a b", "", errTargetByte},
		{"not ASCII", "h", "/a\xff", "", errTargetByte},
		{"tab in query", "h", "/a?b\tc", "", errTargetByte},
		{"short escape", "h", "/a%2", "", errTargetEscape},
		{"bad escape", "h", "/a%zz", "", errTargetEscape},
		{"bad escape in query", "h", "/a?%zz", "", errTargetEscape},
		{"no slash", "h", "a", "", errTargetForm},
		{"empty", "h", "", "", errTargetForm},
		{"star", "h", "*", "", errTargetForm},
		{"long", "h", "/" + strings.Repeat("a", maxTargetBytes), "", errTargetLong},
		{"no host", "", "/", "", errHost},
		{"user in host", "a@b", "/", "", errHost},
		{"path in host", "a/b", "/", "", errHost},
		{"two dots in host", "a..b", "/", "", errHost},
		{"bad port", "a:99999", "/", "", errHost},
		{"port of letters", "a:http", "/", "", errHost},
		{"two ports", "a:1:2", "/", "", errHost},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := ParseTarget(tt.host, tt.target)
			if !errors.Is(err, tt.err) || err == nil && got.KeyText() != tt.want {
				t.Errorf("ParseTarget(%q, %q) = %q, %v; want %q, %v", tt.host, tt.target, got.KeyText(), err, tt.want, tt.err)
			}
		})
	}
}

// TestParseTargetIsStable: what is canonical stays as it is.
func FuzzParseTarget(f *testing.F) {
	f.Add("example.com:80", "/a%2fb/%61?x=1&CMCD=y")
	f.Add("[::1]", "//a;b=c/..%3b")
	f.Fuzz(func(t *testing.T, host, target string) {
		first, err := ParseTarget(host, target)
		if err != nil {
			return
		}
		again := first.Path
		if first.Query != "" {
			again += "?" + first.Query
		}
		second, err := ParseTarget(first.Host, again)
		if err != nil || second != first {
			t.Errorf("ParseTarget(%q, %q) = %+v, then %+v, %v", host, target, first, second, err)
		}
		for segment := range strings.SplitSeq(first.Path, "/") {
			if segment == ".." || segment == "." {
				t.Errorf("ParseTarget(%q, %q) kept a dot segment: %q", host, target, first.Path)
			}
		}
	})
}

func TestParseTargetAllocatesNothingWhenCanonical(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() {
		if _, err := ParseTarget("example.com", "/vod/demo/720/seg-00001.m4s?a=b"); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

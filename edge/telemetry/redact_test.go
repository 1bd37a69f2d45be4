package telemetry

import (
	"strings"
	"testing"
)

func TestRedact(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, in, want string }{
		{"nothing", "/vod/demo/1.m4s", "/vod/demo/1.m4s"},
		{"harmless", "/a?b=c&quality=1080", "/a?b=c&quality=1080"},
		{"token", "/a?token=abc", "/a?token=REDACTED"},
		{"in the middle", "/a?x=1&token=abc&y=2", "/a?x=1&token=REDACTED&y=2"},
		{"several", "/a?sig=1&Expires=2&Key-Pair-Id=3", "/a?sig=REDACTED&Expires=2&Key-Pair-Id=REDACTED"},
		{"case", "/a?ToKeN=abc", "/a?ToKeN=REDACTED"},
		{"escaped name", "/a?%74oken=abc", "/a?%74oken=REDACTED"},
		{"part of the name", "/a?access_token=abc&X-Amz-Signature=1", "/a?access_token=REDACTED&X-Amz-Signature=REDACTED"},
		{"Common Access Token", "/a?CAT=2D3RhE", "/a?CAT=REDACTED"},
		{"second question mark", "/a?x=1?token=abc", "/a?x=1?token=REDACTED"},
		{"value with question mark", "/a?token=ab?c&x=1", "/a?token=REDACTED&x=1"},
		{"value with equals", "/a?token=ab=cd==&x=1", "/a?token=REDACTED&x=1"},
		{"empty value", "/a?token=&x=1", "/a?token=&x=1"},
		{"no value", "/a?token", "/a?token"},
		{"bad escape", "/a?token%=abc", "/a?token%=REDACTED"},
		{"error", `Get "http://o/a?token=abc": EOF`, `Get "http://o/a?token=REDACTED": EOF`},
		{"semicolon", "/a?x=1;token=abc;y=2", "/a?x=1;token=REDACTED;y=2"},
		{"user", "http://u:p@o/a", "http://REDACTED@o/a"},
		{"user in an error", `Get "https://u:p@o/": dial http://v:q@p`, `Get "https://REDACTED@o/": dial http://REDACTED@p`},
		{"at sign in a path", "http://o/@a", "http://o/@a"},
		{"cache status", `edge-1; hit; key="v.example/a?token=abc"; ttl=3`, `edge-1; hit; key="v.example/a?token=REDACTED"; ttl=3`},
	}
	for _, tt := range tests {
		if got := Redact(tt.in); got != tt.want {
			t.Errorf("%s: Redact(%s): got %s, want %s", tt.name, tt.in, got, tt.want)
		}
	}
}

func TestRedactAllocatesNothingWithoutSecrets(t *testing.T) {
	n := testing.AllocsPerRun(100, func() {
		Redact("/vod/demo/1080p/segment-42.m4s")
	})
	if n != 0 {
		t.Errorf("got %v allocations, want 0", n)
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("/a?x=1&", "&y=2")
	f.Add("http://u:p@o/a?", "#x")
	f.Add("??&&;;==", "?token=")
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "s3cr3ts3cr3t"
		if strings.Contains(before+after, secret) {
			return
		}
		got := Redact(before + "&token=" + secret + "&" + after)
		if strings.Contains(got, secret) {
			t.Fatalf("got %q, with the secret", got)
		}
		if again := Redact(got); again != got {
			t.Fatalf("twice: got %q, once %q", again, got)
		}
	})
}

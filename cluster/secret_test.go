package cluster

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestParseSecret(t *testing.T) {
	t.Parallel()
	material := []byte("0123456789abcdef0123456789ABCDEF")
	padded := base64.StdEncoding.EncodeToString(material)
	for _, tt := range []struct{ name, text, want string }{
		{"base64", padded, ""},
		{"without padding", strings.TrimRight(padded, "="), ""},
		{"with white space", " \t" + padded + "\r\n", ""},
		{"hexadecimal", hex.EncodeToString(material), ""},
		{"upper-case hexadecimal", strings.ToUpper(hex.EncodeToString(material)), ""},
		{"longer", base64.StdEncoding.EncodeToString(append(material, material...)), ""},
		{"URL alphabet", base64.URLEncoding.EncodeToString(bytes.Repeat([]byte{0xfb, 0xff, 1, 2, 3, 4, 5, 6, 7, 8}, 4)), ""},
		{"empty", " \n", "empty"},
		{"short base64", base64.StdEncoding.EncodeToString(material[:31]), "too short: 31 bytes"},
		{"short hexadecimal", hex.EncodeToString(material[:31]), "too short: 31 bytes"},
		{"words", "correct horse battery staple, and some more of them", "not one line"},
		{"two lines", padded[:20] + "\n" + padded[20:], "not one line"},
		{"bytes", string([]byte{0, 1, 2, 255}), "not one line"},
		{"placeholder", strings.Repeat("0", 64), "not random"},
		{"long", strings.Repeat("abcd", 500), "at most"},
	} {
		s, err := ParseSecret([]byte(tt.text))
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error with %q", tt.name, err, tt.want)
		}
		if err != nil && len(tt.text) > 8 && strings.Contains(err.Error(), tt.text[:8]) {
			t.Errorf("%s: the error repeats the secret: %v", tt.name, err)
		}
		if (err != nil) != s.IsZero() {
			t.Errorf("%s: IsZero is %v with error %v", tt.name, s.IsZero(), err)
		}
	}
}

func TestSecretSpellingsAreOneSecret(t *testing.T) {
	t.Parallel()
	want := NewSecret()
	again, err := ParseSecret([]byte(want.Reveal() + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	asHex, err := ParseSecret([]byte(hex.EncodeToString(want.material())))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []Secret{again, asHex} {
		if !bytes.Equal(s.GossipKey(), want.GossipKey()) {
			t.Error("another spelling of the secret gives another key")
		}
	}
	if bytes.Equal(NewSecret().GossipKey(), want.GossipKey()) {
		t.Error("two new secrets give one key")
	}
}

// The keys are part of the protocol: nodes of different builds must derive the same ones.
func TestDerivedKeys(t *testing.T) {
	t.Parallel()
	got := hex.EncodeToString(testSecret.GossipKey())
	if want := "4c640174bb7b834e3c60aceb78b39a25f06a84704719dc66de35d8e3ee9d9d1d"; got != want {
		t.Errorf("gossip key %s, want %s", got, want)
	}
	if bytes.Equal(testSecret.derive(caKeyLabel), testSecret.GossipKey()) {
		t.Error("two labels give one key")
	}
	if bytes.Equal(testSecret.QUICKey(), testSecret.GossipKey()) || len(testSecret.QUICKey()) != 32 {
		t.Errorf("the QUIC key is %d bytes, or the gossip key", len(testSecret.QUICKey()))
	}
	if (Secret{}).QUICKey() != nil || (Secret{}).GossipKey() != nil || (Secret{}).Reveal() != "" {
		t.Error("no secret gives a key")
	}
}

func TestSecretDoesNotPrint(t *testing.T) {
	t.Parallel()
	s := NewSecret()
	inside := struct {
		Secret Secret
		hidden Secret
		o      KeyringOptions
	}{s, s, KeyringOptions{Secrets: Secrets{s}}}
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		fmt.Fprintf(&out, verb+"\n", s)
		fmt.Fprintf(&out, verb+"\n", &s)
		fmt.Fprintf(&out, verb+"\n", inside)
		fmt.Fprintf(&out, verb+"\n", &inside)
	}
	for _, h := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
		slog.New(h).Info("x", "secret", s, "options", inside.o.Secrets, "inside", fmt.Sprint(inside))
	}
	b, err := json.Marshal(map[string]any{"secret": s})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(b)
	text := strings.ToLower(out.String())
	material := s.material()
	for name, leak := range map[string]string{
		"base64": s.Reveal(), "hexadecimal": hex.EncodeToString(material[:8]), "decimal": strings.Trim(fmt.Sprint(material[:4]), "[]"), //nolint:staticcheck // the decimal form is what is looked for
		"Go": strings.Trim(fmt.Sprintf("%#v", material[:4]), "[]byte{}"), "bytes": string(material[:8]),
	} {
		if strings.Contains(text, strings.ToLower(leak)) {
			t.Errorf("the secret shows as %s", name)
		}
	}
	if !strings.Contains(text, redacted) {
		t.Error("nothing was printed at all")
	}
}

func FuzzParseSecret(f *testing.F) {
	f.Add([]byte(testSecret.Reveal()))
	f.Add([]byte(hex.EncodeToString(testSecret.material()) + "\n"))
	f.Add([]byte("===="))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := ParseSecret(text)
		if err != nil {
			return
		}
		again, err := ParseSecret([]byte(s.Reveal()))
		if err != nil || !bytes.Equal(again.material(), s.material()) {
			t.Errorf("%q reads as a secret that does not survive writing: %v", text, err)
		}
		if len(s.material()) < secretBytes {
			t.Errorf("%q accepted with %d bytes", text, len(s.material()))
		}
	})
}

package telemetry

import (
	"net/url"
	"strings"
)

// redacted stands where a credential stood.
const redacted = "REDACTED"

// Redact blanks what could let the reader of a log act as a viewer or an operator: values of query parameters that
// carry tokens, signatures or keys, wherever in the text a query stands, and user:password before an @ of a URL.
// A text without any is returned as it is, without allocation.
func Redact(text string) string {
	if strings.Contains(text, "://") && strings.Contains(text, "@") {
		text = redactUser(text)
	}
	if !strings.ContainsAny(text, "?&;") {
		return text
	}
	var b strings.Builder
	kept := 0 // text before here is in b
	for at := 0; at < len(text); {
		begin := strings.IndexAny(text[at:], "?&;")
		if begin < 0 {
			break
		}
		at += begin + 1
		equals := strings.IndexAny(text[at:], "=?&;#\"' \t\r\n")
		if equals < 0 || text[at+equals] != '=' || !secretName(text[at:at+equals]) {
			continue
		}
		at += equals + 1
		if end := valueEnd(text[at:]); end > 0 {
			b.WriteString(text[kept:at])
			b.WriteString(redacted)
			at += end
			kept = at
		}
	}
	if kept == 0 {
		return text
	}
	b.WriteString(text[kept:])
	return b.String()
}

// valueEnd is where a parameter's value ends: at the next parameter, or where a URL in a sentence ends.
func valueEnd(text string) int {
	if end := strings.IndexAny(text, "&;#\"' \t\r\n"); end >= 0 {
		return end
	}
	return len(text)
}

func redactUser(text string) string {
	var b strings.Builder
	for {
		before, after, ok := strings.Cut(text, "://")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		b.WriteString("://")
		authority := len(after)
		if end := strings.IndexAny(after, "/?#\" "); end >= 0 {
			authority = end
		}
		if at := strings.LastIndexByte(after[:authority], '@'); at >= 0 {
			b.WriteString(redacted)
			after = after[at:]
		}
		text = after
	}
}

// secretName reports whether a query parameter's value is a credential: those of Common Access Token, of the token and
// URL-signing schemes of the clouds, of S3 and of OAuth, and whatever calls itself key, token, secret or password.
func secretName(name string) bool {
	if decoded, err := url.QueryUnescape(name); err == nil {
		name = decoded
	}
	name = strings.ToLower(name)
	switch name {
	case "cat", "cta-common-access-token", "hdnts", "hdnea", "hdntl", "acl", "hmac", "jwt", "auth", "authorization",
		"sig", "policy", "credential", "session", "sessionid", "session_id", "sid", "md5", "sign", "st", "verify",
		"wssecret", "txsecret", "auth_key", "key-pair-id", "key", "apikey", "pwd", "pass", "code", "assertion":
		return true
	}
	for _, part := range []string{"token", "secret", "password", "passwd", "signature", "credential", "api_key", "api-key"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}

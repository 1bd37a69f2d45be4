package byterange

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"testing"
)

func TestMultipart(t *testing.T) {
	t.Parallel()
	object := []byte("the quick brown fox jumps over the lazy dog")
	size := int64(len(object))
	for _, contentType := range []string{"video/mp4", "", "text/plain\r\nEvil: 1"} {
		m := NewMultipart([]Range{{4, 5}, {0, 3}, {40, 3}}, size, contentType, 42)
		var body []byte
		for i, r := range m.Ranges() {
			body = m.AppendHeader(body, i)
			body = append(body, object[r.Start:r.Start+r.Length]...)
		}
		body = m.AppendEnd(body)
		if got := int64(len(body)); got != m.ContentLength() {
			t.Errorf("%q: ContentLength = %d, body is %d bytes", contentType, m.ContentLength(), got)
		}
		media, params, err := mime.ParseMediaType(m.ContentType())
		if err != nil || media != "multipart/byteranges" || len(params["boundary"]) != 32 {
			t.Fatalf("ContentType %q: %v", m.ContentType(), err)
		}
		reader := multipart.NewReader(bytes.NewReader(body), params["boundary"])
		for _, r := range m.Ranges() {
			part, err := reader.NextRawPart()
			if err != nil {
				t.Fatalf("%q: part %v: %v", contentType, r, err)
			}
			got, err := io.ReadAll(part)
			if want := object[r.Start : r.Start+r.Length]; err != nil || !bytes.Equal(got, want) {
				t.Errorf("part %v = %q, %v, want %q", r, got, err, want)
			}
			if got, want := part.Header.Get("Content-Range"), r.ContentRange(size); got != want {
				t.Errorf("part %v: Content-Range %q, want %q", r, got, want)
			}
			if part.Header.Get("Evil") != "" {
				t.Error("the media type broke out of its line")
			}
		}
		if _, err := reader.NextRawPart(); err != io.EOF { // the reader returns it bare
			t.Errorf("after the last part: %v, want EOF", err)
		}
	}
}

func TestBoundaryFollowsSeed(t *testing.T) {
	t.Parallel()
	a, b, c := boundary(1), boundary(1), boundary(2)
	if a != b || a == c || len(a) != 32 || len(boundary(0)) != 32 {
		t.Errorf("boundaries %q, %q, %q", a, b, c)
	}
}

func TestIfRange(t *testing.T) {
	t.Parallel()
	const (
		modified = "Tue, 15 Nov 1994 12:45:26 GMT"
		later    = "Tue, 15 Nov 1994 12:45:27 GMT"
	)
	tests := []struct {
		name                             string
		header, etag, lastModified, date string
		want                             bool
	}{
		{"no condition", "", `"a"`, modified, later, true},
		{"equal tag", `"a"`, `"a"`, "", "", true},
		{"other tag", `"a"`, `"b"`, "", "", false},
		{"no tag to compare", `"a"`, "", modified, later, false},
		{"weak condition", `W/"a"`, `W/"a"`, "", "", false},
		{"weak condition, strong tag", `W/"a"`, `"a"`, "", "", false},
		{"weak tag", `"a"`, `W/"a"`, "", "", false},
		{"half a tag", `"`, `"`, "", "", false},
		{"exact date", modified, `"a"`, modified, later, true},
		{"exact date in an old form", "Tuesday, 15-Nov-94 12:45:26 GMT", "", modified, later, true},
		{"later date", later, "", modified, "Tue, 15 Nov 1994 12:45:40 GMT", false},
		{"date that is still weak", modified, "", modified, modified, false},
		{"no Date to judge it by", modified, "", modified, "", false},
		{"no Last-Modified", modified, "", "", later, false},
		{"neither", "gibberish", "gibberish", "gibberish", later, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := IfRange(tt.header, tt.etag, tt.lastModified, tt.date); got != tt.want {
				t.Errorf("IfRange(%q, %q, %q, %q) = %v, want %v", tt.header, tt.etag, tt.lastModified, tt.date, got, tt.want)
			}
		})
	}
}

package dash

import (
	"encoding/xml"
	"strings"
	"testing"
)

func TestTimeline(t *testing.T) {
	t.Parallel()
	got := timeline([]Segment{{0, 10}, {10, 20}, {20, 25}, {30, 35}})
	if len(got) != 3 || *got[0].Time != 0 || got[0].Repeat != 1 || got[1].Time != nil || got[1].Duration != 5 || got[2].Time == nil || *got[2].Time != 30 {
		t.Errorf("got %+v", got)
	}
}

func TestDurationIsRoundedUp(t *testing.T) {
	t.Parallel()
	for in, want := range map[float64]string{24: "PT24S", 1.0001: "PT1.001S", 60.06: "PT60.06S"} {
		if got := duration(in); got != want {
			t.Errorf("%v: got %s, want %s", in, got, want)
		}
	}
}

func TestTextIsEscaped(t *testing.T) {
	t.Parallel()
	m := MPD{Duration: 1, Sets: []AdaptationSet{{Language: `"><x>`, Representations: []Representation{{ID: `a&"b`}}}}}
	text, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "<x>") {
		t.Errorf("got markup of a value in %s", text)
	}
	if err := xml.Unmarshal(text, new(struct{})); err != nil {
		t.Error(err)
	}
}

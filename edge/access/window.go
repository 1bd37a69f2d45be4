package access

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Window is a span of each day, or of some days of the week.
type Window struct {
	days     [7]bool // by time.Weekday
	from, to int     // minutes of the day; to is not in it any more, and may lie on the next day
	zone     *time.Location
}

// weekdays are how days are written.
var weekdays = [7]string{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"} //nolint:gochecknoglobals // never changed

// ParseWindow reads "[DAY[-DAY][,DAY…] ]HH:MM-HH:MM[ ZONE]": "Mon-Fri 18:00-23:30 Europe/Berlin". A span that ends before
// it begins ends on the next day; the days are those on which it begins. Without days it is every day, without a zone
// UTC.
func ParseWindow(text string) (w Window, err error) {
	words := strings.Fields(text)
	w.zone = time.UTC
	if len(words) > 0 && !strings.Contains(words[0], ":") {
		if err = w.parseDays(words[0]); err != nil {
			return w, err
		}
		words = words[1:]
	} else {
		w.days = [7]bool{true, true, true, true, true, true, true}
	}
	if len(words) < 1 || len(words) > 2 {
		return w, errors.New("want [DAYS] HH:MM-HH:MM [ZONE], such as Mon-Fri 18:00-23:30 Europe/Berlin")
	}
	from, to, ok := strings.Cut(words[0], "-")
	if !ok {
		return w, fmt.Errorf("%q is no span of the day: want HH:MM-HH:MM", words[0])
	}
	if w.from, err = minute(from); err != nil {
		return w, err
	}
	if w.to, err = minute(to); err != nil {
		return w, err
	}
	if w.from == w.to {
		return w, fmt.Errorf("%q is empty: for the whole day write 00:00-24:00", words[0])
	}
	if len(words) == 2 {
		if w.zone, err = time.LoadLocation(words[1]); err != nil {
			return w, fmt.Errorf("%q is no time zone: %w", words[1], err)
		}
	}
	return w, nil
}

func (w *Window) parseDays(text string) error {
	for part := range strings.SplitSeq(text, ",") {
		first, last, span := strings.Cut(part, "-")
		from, ok := weekday(first)
		to := from
		if span && ok {
			to, ok = weekday(last)
		}
		if !ok {
			return fmt.Errorf("%q is no day of the week: want Mon, Tue, Wed, Thu, Fri, Sat or Sun, or a span such as Mon-Fri", part)
		}
		for d := from; ; d = (d + 1) % 7 {
			w.days[d] = true
			if d == to {
				break
			}
		}
	}
	return nil
}

func weekday(text string) (int, bool) {
	for d, name := range weekdays {
		if strings.EqualFold(name, text) {
			return d, true
		}
	}
	return 0, false
}

// minute reads HH:MM, 24:00 included.
func minute(text string) (int, error) {
	var hour, minute int
	if n, err := fmt.Sscanf(text, "%2d:%2d", &hour, &minute); err != nil || n != 2 || len(text) != 5 || hour < 0 || minute < 0 || minute > 59 || hour*60+minute > 24*60 {
		return 0, fmt.Errorf("%q is no time of the day: want HH:MM", text)
	}
	return hour*60 + minute, nil
}

// Contains tells whether a moment lies in the window.
func (w *Window) Contains(at time.Time) bool {
	local := at.In(w.zone)
	now, day := local.Hour()*60+local.Minute(), int(local.Weekday())
	if w.from < w.to {
		return w.days[day] && w.from <= now && now < w.to
	}
	return w.days[day] && w.from <= now || w.days[(day+6)%7] && now < w.to
}

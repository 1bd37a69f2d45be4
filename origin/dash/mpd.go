package dash

import (
	"encoding/xml"
	"fmt"
	"math"
	"strconv"
)

// MPD is a static presentation of one period.
type MPD struct {
	Duration         float64 // seconds
	MinBufferSeconds float64 // of media that a player needs at the declared bandwidths to play on without a pause
	Sets             []AdaptationSet
}

// AdaptationSet is a set of representations between which a player may switch.
type AdaptationSet struct {
	Video           bool   // otherwise audio
	Language        string // BCP 47; empty leaves it out
	Main            bool   // role main; otherwise alternate
	Representations []Representation
}

// Representation is one rendition.
type Representation struct {
	ID, Codecs         string
	Bandwidth          int64 // bits per second, peak
	Width, Height      int   // pixels as coded
	SarX, SarY         int   // shape of a pixel
	FrameRateNumerator int64
	FrameRateDivisor   int64
	SamplesPerSecond   int
	Channels           int
	ChannelScheme      string // schemeIdUri of AudioChannelConfiguration; empty is the MPEG scheme
	ChannelValue       string // its value; empty is the number of channels
	Timescale          uint32
	InitURI, MediaURI  string // templates relative to the MPD
	Segments           []Segment
}

// Segment is the presentation time of one segment in units of the timescale.
type Segment struct{ Start, End int64 }

// mpegChannels is the scheme whose value is the number of channels, ISO/IEC 23003-3.
const mpegChannels = "urn:mpeg:dash:23003:3:audio_channel_configuration:2011"

// The elements, as ISO/IEC 23009-1 names them.
type (
	xmlMPD struct {
		XMLName       xml.Name  `xml:"urn:mpeg:dash:schema:mpd:2011 MPD"`
		Profiles      string    `xml:"profiles,attr"`
		Type          string    `xml:"type,attr"`
		Duration      string    `xml:"mediaPresentationDuration,attr"`
		MinBufferTime string    `xml:"minBufferTime,attr"`
		Period        xmlPeriod `xml:"Period"`
	}
	xmlPeriod struct {
		ID    string   `xml:"id,attr"`
		Start string   `xml:"start,attr"`
		Sets  []xmlSet `xml:"AdaptationSet"`
	}
	xmlSet struct {
		ID               int                 `xml:"id,attr"`
		ContentType      string              `xml:"contentType,attr"`
		MimeType         string              `xml:"mimeType,attr"`
		Lang             string              `xml:"lang,attr,omitempty"`
		SegmentAlignment bool                `xml:"segmentAlignment,attr"`
		StartWithSAP     int                 `xml:"startWithSAP,attr"`
		MaxWidth         int                 `xml:"maxWidth,attr,omitempty"`
		MaxHeight        int                 `xml:"maxHeight,attr,omitempty"`
		Role             xmlDescriptor       `xml:"Role"`
		Representations  []xmlRepresentation `xml:"Representation"`
	}
	xmlDescriptor struct {
		Scheme string `xml:"schemeIdUri,attr"`
		Value  string `xml:"value,attr"`
	}
	xmlRepresentation struct {
		ID                string         `xml:"id,attr"`
		Codecs            string         `xml:"codecs,attr"`
		Bandwidth         int64          `xml:"bandwidth,attr"`
		Width             int            `xml:"width,attr,omitempty"`
		Height            int            `xml:"height,attr,omitempty"`
		FrameRate         string         `xml:"frameRate,attr,omitempty"`
		Sar               string         `xml:"sar,attr,omitempty"`
		AudioSamplingRate int            `xml:"audioSamplingRate,attr,omitempty"`
		Channels          *xmlDescriptor `xml:"AudioChannelConfiguration"`
		Template          xmlTemplate    `xml:"SegmentTemplate"`
	}
	xmlTemplate struct {
		Timescale      uint32        `xml:"timescale,attr"`
		Initialization string        `xml:"initialization,attr"`
		Media          string        `xml:"media,attr"`
		StartNumber    int           `xml:"startNumber,attr"`
		Timeline       []xmlTimeline `xml:"SegmentTimeline>S"`
	}
	xmlTimeline struct {
		Time     *int64 `xml:"t,attr"`
		Duration int64  `xml:"d,attr"`
		Repeat   int    `xml:"r,attr,omitempty"`
	}
)

// Append appends the MPD to dst.
func (m *MPD) Append(dst []byte) ([]byte, error) {
	out := xmlMPD{
		Profiles:      "urn:mpeg:dash:profile:isoff-live:2011,urn:mpeg:dash:profile:cmaf:2019",
		Type:          "static",
		Duration:      duration(m.Duration),
		MinBufferTime: duration(m.MinBufferSeconds),
		Period:        xmlPeriod{ID: "0", Start: "PT0S"},
	}
	for i := range m.Sets {
		out.Period.Sets = append(out.Period.Sets, m.Sets[i].xml(i))
	}
	text, err := xml.MarshalIndent(out, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("dash: write MPD: %w", err)
	}
	dst = append(dst, xml.Header...)
	return append(append(dst, text...), '\n'), nil
}

func (a *AdaptationSet) xml(id int) xmlSet {
	out := xmlSet{
		ID: id, ContentType: "audio", MimeType: "audio/mp4", Lang: a.Language, SegmentAlignment: true, StartWithSAP: 1,
		Role: xmlDescriptor{Scheme: "urn:mpeg:dash:role:2011", Value: "alternate"},
	}
	if a.Video {
		out.ContentType, out.MimeType = "video", "video/mp4"
	}
	if a.Main {
		out.Role.Value = "main"
	}
	for i := range a.Representations {
		r := &a.Representations[i]
		out.MaxWidth, out.MaxHeight = max(out.MaxWidth, r.Width), max(out.MaxHeight, r.Height)
		out.Representations = append(out.Representations, r.xml(a.Video))
	}
	return out
}

func (r *Representation) xml(video bool) xmlRepresentation {
	out := xmlRepresentation{
		ID: r.ID, Codecs: r.Codecs, Bandwidth: r.Bandwidth,
		Template: xmlTemplate{
			Timescale: r.Timescale, Initialization: r.InitURI, Media: r.MediaURI, StartNumber: 1, Timeline: timeline(r.Segments),
		},
	}
	if video {
		out.Width, out.Height = r.Width, r.Height
		out.Sar = fmt.Sprintf("%d:%d", max(1, r.SarX), max(1, r.SarY))
		if r.FrameRateNumerator > 0 {
			out.FrameRate = strconv.FormatInt(r.FrameRateNumerator, 10)
			if r.FrameRateDivisor > 1 {
				out.FrameRate += "/" + strconv.FormatInt(r.FrameRateDivisor, 10)
			}
		}
		return out
	}
	out.AudioSamplingRate = r.SamplesPerSecond
	out.Channels = &xmlDescriptor{Scheme: r.ChannelScheme, Value: r.ChannelValue}
	if r.ChannelScheme == "" {
		out.Channels = &xmlDescriptor{Scheme: mpegChannels, Value: strconv.Itoa(max(1, r.Channels))}
	}
	return out
}

// timeline writes runs of equal durations as one element; a time is given at the start and after a gap.
func timeline(segments []Segment) []xmlTimeline {
	var out []xmlTimeline
	next := int64(0)
	for i, s := range segments {
		d := s.End - s.Start
		if last := len(out) - 1; i > 0 && s.Start == next && out[last].Duration == d {
			out[last].Repeat++
		} else {
			e := xmlTimeline{Duration: d}
			if i == 0 || s.Start != next {
				e.Time = &segments[i].Start
			}
			out = append(out, e)
		}
		next = s.End
	}
	return out
}

// duration writes seconds as xs:duration, to the millisecond and rounded up: a presentation must not end before its
// last frame.
func duration(seconds float64) string {
	ms := int64(math.Ceil(seconds*1000 - 1e-6))
	return "PT" + strconv.FormatFloat(float64(ms)/1000, 'f', -1, 64) + "S"
}

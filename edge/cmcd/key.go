package cmcd

// Key is one that a report may have.
type Key uint8

// The keys of CTA-5004-B, table 1, and nrr of CTA-5004-A, in the order in which they are written; and one of our own, with a
// prefix and a hyphen as the standard wants it.
const (
	AggregateBitrate    Key = iota // ab, kbit/s, by object type
	BufferLength                   // bl, ms, by object type
	Bitrate                        // br, kbit/s, by object type
	BufferStarvation               // bs, the buffer ran dry since the last report
	StarvationCount                // bsa, by object type
	StarvationDuration             // bsd, ms, by object type
	StarvationTotal                // bsda, ms, by object type
	CustomEventName                // cen
	ContentID                      // cid
	CMSDDynamic                    // cmsdd, base64
	CMSDStatic                     // cmsds, base64
	ContentSignature               // cs
	Duration                       // d, ms
	DroppedFrames                  // dfa
	Deadline                       // dl, ms until the buffer runs dry
	Event                          // e, what the report is about
	ErrorCodes                     // ec
	HostName                       // h
	LowestAggregate                // lab, kbit/s, by object type
	LowestBitrate                  // lb, kbit/s, by object type
	LiveLatency                    // ltc, ms
	StartDelay                     // msd, ms
	MeasuredThroughput             // mtp, kbit/s, by object type
	NextObject                     // nor, relative paths
	NextRange                      // nrr, of version 1
	NotRendered                    // nr
	ObjectType                     // ot: v, a, av, m, i, c, tt, k, o
	PlayheadBitrate                // pb, kbit/s, by object type
	PlaybackRate                   // pr
	PlayheadTime                   // pt, ms
	ResponseCode                   // rc
	RequestedThroughput            // rtp, kbit/s, the most that the player has use for
	Format                         // sf: d, h, s, o, e
	SessionID                      // sid
	SMRTData                       // smrt, base64
	Sequence                       // sn
	StreamType                     // st: v, l, ll
	State                          // sta: s, p, k, r, a, w, e, f, q, d
	Startup                        // su, wanted at once: start, seek, or an empty buffer
	TopAggregate                   // tab, kbit/s, by object type
	TopBitrate                     // tb, kbit/s, by object type
	TargetBuffer                   // tbl, ms, by object type
	TopPlayable                    // tpb, kbit/s, by object type
	Timestamp                      // ts, ms since 1970
	TimeToFirstByte                // ttfb, ms
	TimeToFirstBodyByte            // ttfbb, ms
	TimeToLastByte                 // ttlb, ms
	URL                            // url, of the request that a response event is about
	Version                        // v
	Backgrounded                   // bg
	Offline                        // weir-offline, of our own: it is of what was played from the device, without a server

	nKeys = iota
)

// kind is the type of a key's value.
type kind uint8

const (
	integer kind = iota
	decimal      // kept in thousandths
	boolean
	token
	text
	typed // integers, one for each object type
	texts
)

// shape is what the standard says of a key.
type shape struct {
	name string
	kind kind
	most int // the longest text, in bytes; 0: longest
	v2   bool
}

// longest bounds texts that the standard does not bound.
const longest = 1024

// shapes has the Keys in their order.
//
//nolint:gochecknoglobals // never changed
var shapes = [nKeys]shape{
	{"ab", typed, 0, true},
	{"bl", typed, 0, false},
	{"br", typed, 0, false},
	{"bs", boolean, 0, false},
	{"bsa", typed, 0, true},
	{"bsd", typed, 0, true},
	{"bsda", typed, 0, true},
	{"cen", text, 64, true},
	{"cid", text, 128, false},
	{"cmsdd", text, 0, true},
	{"cmsds", text, 0, true},
	{"cs", text, 0, true},
	{"d", integer, 0, false},
	{"dfa", integer, 0, true},
	{"dl", integer, 0, false},
	{"e", token, 0, true},
	{"ec", texts, 0, true},
	{"h", text, 128, true},
	{"lab", typed, 0, true},
	{"lb", typed, 0, true},
	{"ltc", integer, 0, true},
	{"msd", integer, 0, true},
	{"mtp", typed, 0, false},
	{"nor", texts, 0, false},
	{"nrr", text, 0, false},
	{"nr", boolean, 0, true},
	{"ot", token, 0, false},
	{"pb", typed, 0, true},
	{"pr", decimal, 0, false},
	{"pt", integer, 0, true},
	{"rc", integer, 0, true},
	{"rtp", integer, 0, false},
	{"sf", token, 0, false},
	{"sid", text, 64, false},
	{"smrt", text, 0, true},
	{"sn", integer, 0, true},
	{"st", token, 0, false},
	{"sta", token, 0, true},
	{"su", boolean, 0, false},
	{"tab", typed, 0, true},
	{"tb", typed, 0, false},
	{"tbl", typed, 0, true},
	{"tpb", typed, 0, true},
	{"ts", integer, 0, true},
	{"ttfb", integer, 0, true},
	{"ttfbb", integer, 0, true},
	{"ttlb", integer, 0, true},
	{"url", text, 0, true},
	{"v", integer, 0, false},
	{"bg", boolean, 0, true},
	{"weir-offline", boolean, 0, true},
}

// String is the key as it is written.
func (k Key) String() string {
	if int(k) >= nKeys {
		return "?"
	}
	return shapes[k].name
}

// keyOf finds a key by its name.
//
//nolint:cyclop,funlen // a table that the compiler makes a search of
func keyOf(name []byte) (Key, bool) {
	switch string(name) {
	case "ab":
		return AggregateBitrate, true
	case "bg":
		return Backgrounded, true
	case "bl":
		return BufferLength, true
	case "br":
		return Bitrate, true
	case "bs":
		return BufferStarvation, true
	case "bsa":
		return StarvationCount, true
	case "bsd":
		return StarvationDuration, true
	case "bsda":
		return StarvationTotal, true
	case "cen":
		return CustomEventName, true
	case "cid":
		return ContentID, true
	case "cmsdd":
		return CMSDDynamic, true
	case "cmsds":
		return CMSDStatic, true
	case "cs":
		return ContentSignature, true
	case "d":
		return Duration, true
	case "dfa":
		return DroppedFrames, true
	case "dl":
		return Deadline, true
	case "e":
		return Event, true
	case "ec":
		return ErrorCodes, true
	case "h":
		return HostName, true
	case "lab":
		return LowestAggregate, true
	case "lb":
		return LowestBitrate, true
	case "ltc":
		return LiveLatency, true
	case "msd":
		return StartDelay, true
	case "mtp":
		return MeasuredThroughput, true
	case "nor":
		return NextObject, true
	case "nr":
		return NotRendered, true
	case "nrr":
		return NextRange, true
	case "ot":
		return ObjectType, true
	case "pb":
		return PlayheadBitrate, true
	case "pr":
		return PlaybackRate, true
	case "pt":
		return PlayheadTime, true
	case "rc":
		return ResponseCode, true
	case "rtp":
		return RequestedThroughput, true
	case "sf":
		return Format, true
	case "sid":
		return SessionID, true
	case "smrt":
		return SMRTData, true
	case "sn":
		return Sequence, true
	case "st":
		return StreamType, true
	case "sta":
		return State, true
	case "su":
		return Startup, true
	case "tab":
		return TopAggregate, true
	case "tb":
		return TopBitrate, true
	case "tbl":
		return TargetBuffer, true
	case "tpb":
		return TopPlayable, true
	case "ts":
		return Timestamp, true
	case "ttfb":
		return TimeToFirstByte, true
	case "ttfbb":
		return TimeToFirstBodyByte, true
	case "ttlb":
		return TimeToLastByte, true
	case "url":
		return URL, true
	case "v":
		return Version, true
	case "weir-offline":
		return Offline, true
	}
	return 0, false
}

package notice

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Limits of what nodes tell each other.
const (
	// MaxBody bounds one notice.
	MaxBody = 4 << 20

	maxMessage = 16 << 20 // one message; a few notices of the longest kind
	maxName    = 255
	// batchBytes and batchRecords end a batch: what is left is asked for at once. A slow node obeys one within askTimeout.
	batchBytes   = 512 << 10
	batchRecords = 1024
)

// Origin is one life of a node: the process that numbers its notices. A node that starts again is another one.
type Origin struct {
	Node        string `json:"node"`
	Incarnation int64  `json:"incarnation"`
}

// Record is one notice.
type Record struct {
	Origin

	Sequence uint64 `json:"sequence"` // from 1, without gaps
	// Age is how long ago it was posted, by the clocks of the nodes that had it: a little less than the truth, because
	// its ways between them are not counted.
	Age  time.Duration   `json:"age"` // nanoseconds
	Body json.RawMessage `json:"body"`

	born   time.Time // when it was posted or later, by this node's clock
	passed bool      // it has come by gossip, and was sent on
}

// aged is the record as it is told at a time.
func (r Record) aged(now time.Time) Record {
	r.Age = age(now, r.born)
	return r
}

func (r Record) cost() int64 { return int64(len(r.Body) + len(r.Node) + recordBytes) }

// recordBytes is what a record costs beside its texts.
const recordBytes = 128

// position is how far a node has the notices of one origin.
type position struct {
	Origin

	Floor    uint64        `json:"floor"`           // up to here they are no longer there, or never were
	FloorAge time.Duration `json:"floor_age"`       // of the last of those
	High     uint64        `json:"high"`            // up to here they are obeyed
	Age      time.Duration `json:"age"`             // of the last of those
	Early    []uint64      `json:"early,omitempty"` // obeyed too, after a gap; ascending
}

// message is what one node sends another.
type message struct {
	Sum     uint64     `json:"sum,omitempty"` // of a digest; above 0: whether the other's is the same
	Ask     bool       `json:"ask,omitempty"` // for the notices that Digest lacks
	Digest  []position `json:"digest,omitempty"`
	Records []Record   `json:"records,omitempty"`
	Reach   reach      `json:"reach,omitempty"` // of the one record
}

// answer is what it gets.
type answer struct {
	Removed int        `json:"removed"`        // see Options.Apply
	Same    bool       `json:"same,omitempty"` // nothing is missing on either side
	Digest  []position `json:"digest,omitempty"`
	Records []Record   `json:"records,omitempty"`
	More    bool       `json:"more,omitempty"` // notices than were sent

	Contacts []contact `json:"contacts,omitempty"`
	Young    bool      `json:"young,omitempty"`    // see lease
	Receipts []receipt `json:"receipts,omitempty"` // of the others that message.Reach was for
}

var errMessage = errors.New("notice: no message of a node")

// parse reads a message or an answer and checks it.
func parse[T interface{ check() error }](text []byte, into T) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("%w: %w", errMessage, err)
	}
	return into.check()
}

func (m *message) check() error {
	if !m.Reach.valid() {
		return fmt.Errorf("%w: reach %.20q", errMessage, m.Reach)
	}
	return errors.Join(checkAll(m.Digest), checkAll(m.Records))
}

func (a *answer) check() error {
	if len(a.Contacts) > maxContacts {
		return fmt.Errorf("%w: %d contacts", errMessage, len(a.Contacts))
	}
	return errors.Join(checkAll(a.Digest), checkAll(a.Records), checkAll(a.Contacts), checkAll(a.Receipts))
}

// packet is a notice that travels by gossip.
type packet struct{ Record }

func (p *packet) check() error { return checkAll([]Record{p.Record}) }

func checkAll[T interface{ valid() bool }](all []T) error {
	for i := range all {
		if !all[i].valid() {
			return fmt.Errorf("%w: item %d", errMessage, i)
		}
	}
	return nil
}

func (o Origin) valid() bool { return o.Node != "" && len(o.Node) <= maxName && o.Incarnation > 0 }

func (r Record) valid() bool {
	return r.Origin.valid() && r.Sequence > 0 && r.Age >= 0 && len(r.Body) > 0 && len(r.Body) <= MaxBody
}

func (p position) valid() bool {
	return p.Origin.valid() && p.Floor <= p.High && p.Age >= 0 && p.FloorAge >= 0 && len(p.Early) <= maxEarly
}

// encode writes a message. Bodies stay as they are: without the escapes that HTML would need.
func encode(value any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return text.Bytes(), err
}

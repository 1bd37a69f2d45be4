package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
)

// Limits of one purge.
const (
	maxPurgeBytes = 1 << 20
	maxPurgeItems = 1000
)

// Purge is what an operator wants to be served no more.
type Purge struct {
	Kind  string   // url, prefix, tag or all
	Items []string // as they came, 1 to 1,000; none for all
	Soft  bool     // stale from now on, rather than gone
}

// Receipt says what became of a purge.
type Receipt struct {
	ID    string        `json:"id"`
	Time  time.Time     `json:"time"` // what was asked of the origin until then is purged
	Kind  string        `json:"kind"`
	Items []string      `json:"items"` // in canonical form; empty for all
	Soft  bool          `json:"soft"`
	Nodes []NodeReceipt `json:"nodes"`
}

// NodeReceipt is one node's part of a Receipt.
type NodeReceipt struct {
	Node   string `json:"node"`             // "" for a whole region that could not be reached
	Region string `json:"region,omitempty"` // "" where the cluster has none
	// State is Applied when the node serves nothing of it any more, also after a restart. Else it is Missing: the node
	// did not say so in time, and obeys when it can be reached; Error tells why.
	State   string     `json:"state"`
	Time    *time.Time `json:"time,omitempty"` // when it was known to be applied, by the clock of the node that was asked
	Removed int        `json:"removed"`        // stored responses removed at once; others are dropped when they are met
	Error   string     `json:"error,omitempty"`
}

// The states of a NodeReceipt.
const (
	Applied = "applied"
	Missing = "missing"
)

// Missing returns the names of the nodes that have not acknowledged, and of the regions where nobody has.
func (r *Receipt) Missing() []string {
	var names []string
	for _, n := range r.Nodes {
		switch {
		case n.State == Applied:
		case n.Node == "":
			names = append(names, "all of "+n.Region)
		default:
			names = append(names, n.Node)
		}
	}
	return names
}

// FieldError is a mistake of the caller's.
type FieldError struct {
	Field  string // of the request, such as urls[2]
	Reason string // whole sentences, both
	Fix    string
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Reason + " " + e.Fix }

func (c *Console) purge(w http.ResponseWriter, r *http.Request) {
	if c.options.Purge == nil {
		c.problem(w, http.StatusNotFound, "This node has nothing to purge.")
		return
	}
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		w.Header().Set("Accept-Post", "application/json")
		c.mistake(w, http.StatusUnsupportedMediaType, &FieldError{
			"Content-Type", "The request body is not declared as JSON.", "Send Content-Type: application/json.",
		})
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPurgeBytes))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		c.mistake(w, http.StatusRequestEntityTooLarge, &FieldError{"", "The request body is larger than 1 MiB.", "Send several purges, or purge by prefix or tag."})
		return
	}
	if err != nil {
		return // the client has gone
	}
	purge, wrong := parsePurge(body)
	if wrong != nil {
		c.mistake(w, http.StatusBadRequest, wrong)
		return
	}
	receipt, err := c.options.Purge(r.Context(), purge)
	switch {
	case errors.As(err, &wrong):
		c.mistake(w, http.StatusUnprocessableEntity, wrong)
	case err != nil:
		c.log.Error("console: purge", "error", err)
		c.problem(w, http.StatusInternalServerError, err.Error())
	default:
		if receipt.Items == nil {
			receipt.Items = []string{}
		}
		status := http.StatusOK
		if len(receipt.Missing()) > 0 {
			status = http.StatusAccepted // RFC 9110, 15.3.3: it will be acted upon, and has not been everywhere
		}
		c.write(w, status, "application/json", receipt)
	}
}

// mistake answers with a problem that says what is wrong where, and what to do.
func (c *Console) mistake(w http.ResponseWriter, status int, e *FieldError) {
	c.write(w, status, "application/problem+json", problemDetails{
		Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: strings.TrimSpace(e.Reason + " " + e.Fix),
		Instance: c.instance(), Field: e.Field, Reason: e.Reason, Fix: e.Fix,
	})
}

// purgeBody is a purge as it is sent.
type purgeBody struct {
	URL      *string  `json:"url"`
	Prefix   *string  `json:"prefix"`
	Tag      *string  `json:"tag"`
	URLs     []string `json:"urls"`
	Prefixes []string `json:"prefixes"`
	Tags     []string `json:"tags"`
	All      bool     `json:"all"`
	Soft     bool     `json:"soft"`
}

const purgeForms = `Send one of {"url": …}, {"prefix": …}, {"tag": …}, {"urls": [ … ]}, {"prefixes": [ … ]}, {"tags": [ … ]} and {"all": true}, with "soft": true to make responses stale only.`

func parsePurge(text []byte) (Purge, *FieldError) {
	var body purgeBody
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&body)
	if err == nil {
		if _, more := decoder.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something follows the object")
		}
	}
	if err != nil {
		return Purge{}, malformed(err)
	}
	p := Purge{Soft: body.Soft}
	for _, list := range []struct {
		kind, field string
		items       []string
	}{
		{"url", "url", one(body.URL)},
		{"url", "urls", body.URLs},
		{"prefix", "prefix", one(body.Prefix)},
		{"prefix", "prefixes", body.Prefixes},
		{"tag", "tag", one(body.Tag)},
		{"tag", "tags", body.Tags},
	} {
		switch {
		case len(list.items) == 0:
		case p.Kind != "":
			return Purge{}, &FieldError{list.field, "The purge names things in two ways.", "Send one purge for each."}
		case len(list.items) > maxPurgeItems:
			return Purge{}, &FieldError{list.field, fmt.Sprintf("The list has %d items, more than %d.", len(list.items), maxPurgeItems), "Send several purges, or purge by prefix or tag."}
		default:
			p.Kind, p.Items = list.kind, list.items
		}
	}
	switch {
	case body.All && p.Kind != "":
		return Purge{}, &FieldError{"all", "The purge is of everything, and names things too.", `Leave "all" out, or everything else.`}
	case body.All:
		p.Kind = "all"
	case p.Kind == "":
		return Purge{}, &FieldError{"", "The purge names nothing.", purgeForms}
	}
	return p, nil
}

func one(item *string) []string {
	if item == nil {
		return nil
	}
	return []string{*item}
}

func malformed(err error) *FieldError {
	wrong := &FieldError{"", "The request body is not the JSON of a purge: " + err.Error() + ".", purgeForms}
	if kind := (*json.UnmarshalTypeError)(nil); errors.As(err, &kind) {
		wrong.Field, wrong.Reason = kind.Field, "A JSON "+kind.Value+" is not what belongs here."
	}
	if _, name, ok := strings.Cut(err.Error(), "unknown field "); ok {
		wrong.Field, wrong.Reason = strings.Trim(name, `"`), "A purge has no such member."
	}
	return wrong
}

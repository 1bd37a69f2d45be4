package configs

import (
	"errors"
	"strconv"
	"strings"
)

// Problem is one thing that is wrong in a configuration.
type Problem struct {
	File         string // as given to Parse; empty if the value came from no file
	Line, Column int    // from 1; 0 if the value is not in the file
	Key          string // the path of the key, such as cluster.join[1]; empty where the YAML itself is broken
	Text         string // what is wrong, beginning with the value
	Hint         string // what to write instead; may be empty
}

// Error writes weir.yaml:12:3: cache.disk: 10 has no unit: write 10GiB or 10GB. Parts that are not known are left out.
func (p *Problem) Error() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			b.WriteString(":" + strconv.Itoa(p.Line) + ":" + strconv.Itoa(p.Column))
		}
		b.WriteString(": ")
	}
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Text)
	if p.Hint != "" {
		b.WriteString(": " + p.Hint)
	}
	return b.String()
}

// Problems are all that is wrong, in the order of the file. Its text has a line for each.
type Problems []*Problem

// Error joins the problems, a line each.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, problem := range p {
		lines[i] = problem.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.As find a *Problem.
func (p Problems) Unwrap() []error {
	all := make([]error, len(p))
	for i, problem := range p {
		all[i] = problem
	}
	return all
}

// hinted is an error that carries its hint apart.
type hinted struct{ text, hint string }

func (e *hinted) Error() string {
	if e.hint == "" {
		return e.text
	}
	return e.text + ": " + e.hint
}

// split takes an error's text and hint apart.
func split(err error) (text, hint string) {
	if h, ok := errors.AsType[*hinted](err); ok {
		return h.text, h.hint
	}
	return err.Error(), ""
}

package proof

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// Script is a scenario, read and checked but not run.
type Script struct {
	Name  string // of the file, for errors
	Steps []Step
}

// Step is one line of a script.
type Step struct {
	Line    int
	Words   []string // Words[0] is the verb
	command command
}

// command is what a step does.
type command interface{ run(r *runner) error }

// ParseScript reads a scenario in the language that the package comment
// describes. Errors begin with "name:line: ".
func ParseScript(name string, text []byte) (*Script, error) {
	s := &Script{Name: name}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		words, err := splitWords(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, n, err)
		}
		if len(words) == 0 {
			continue
		}
		c, err := parseCommand(words)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %s: %w", name, n, words[0], err)
		}
		s.Steps = append(s.Steps, Step{Line: n, Words: words, command: c})
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}

// String prints the script in its shortest form; ParseScript reads it back to
// the same steps.
func (s *Script) String() string {
	var b strings.Builder
	for _, step := range s.Steps {
		b.WriteString(step.String())
		b.WriteByte('\n')
	}
	return b.String()
}

// String prints one line.
func (s Step) String() string {
	words := make([]string, len(s.Words))
	for i, w := range s.Words {
		words[i] = quoteWord(w)
	}
	return strings.Join(words, " ")
}

// splitWords cuts a line at blanks. Double quotes keep blanks in a word, with
// \" and \\ inside; a word that begins with # ends the line.
func splitWords(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	inWord, inQuotes, escaped := false, false, false
	for _, c := range line {
		switch {
		case escaped:
			if c != '"' && c != '\\' {
				return nil, fmt.Errorf(`\%c: only \" and \\ are escapes`, c)
			}
			word.WriteRune(c)
			escaped = false
		case inQuotes && c == '\\':
			escaped = true
		case c == '"':
			inWord, inQuotes = true, !inQuotes
		case inQuotes:
			word.WriteRune(c)
		case unicode.IsSpace(c):
			if inWord {
				words = append(words, word.String())
				word.Reset()
			}
			inWord = false
		case c == '#' && !inWord:
			return words, nil
		default:
			inWord = true
			word.WriteRune(c)
		}
	}
	if inQuotes {
		return nil, errors.New("a quote is not closed")
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}

func quoteWord(w string) string {
	plain := w != "" && w[0] != '#' && !strings.ContainsFunc(w, func(c rune) bool { return c == '"' || unicode.IsSpace(c) })
	if plain {
		return w
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(w) + `"`
}

// term is one "key OP value" of an expectation or an option list.
type term struct{ key, op, value string }

func (t term) String() string { return t.key + t.op + t.value }

// operators, the longer first.
func operators() []string { return []string{"<=", ">=", "!=", "!~", "=", "~", "<", ">"} }

// parseTerm finds the first operator in a word.
func parseTerm(word string) (term, bool) {
	i := strings.IndexAny(word, "<>!=~")
	if i <= 0 {
		return term{}, false
	}
	for _, op := range operators() {
		if value, ok := strings.CutPrefix(word[i:], op); ok {
			return term{word[:i], op, value}, true
		}
	}
	return term{}, false
}

// parseOptions reads words of the form "key=value" or "key" (for key=true); no key
// twice.
func parseOptions(words []string) (map[string]string, error) {
	options := map[string]string{}
	for _, w := range words {
		key, value, has := strings.Cut(w, "=")
		if !has {
			value = "true"
		}
		if _, twice := options[key]; twice || key == "" {
			return nil, fmt.Errorf("%q: option without a name, or twice", w)
		}
		options[key] = value
	}
	return options, nil
}

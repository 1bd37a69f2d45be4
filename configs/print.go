package configs

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/token"
)

// Print writes the configuration as it takes effect, as YAML that Parse reads back to the same values, with the
// comments of reference.yaml. It holds no secret: the Config has only the names of the files that do.
func (c *Config) Print(w io.Writer) error {
	p := &printer{out: bufio.NewWriter(w), comments: comments(string(Reference()))}
	p.mapping(reflect.ValueOf(c).Elem(), "", "")
	if err := p.out.Flush(); err != nil {
		return fmt.Errorf("print configuration: %w", err)
	}
	return nil
}

// printer writes YAML; errors are kept by out until Flush.
type printer struct {
	out      *bufio.Writer
	comments map[string][]string // by path, as collect writes it
}

func (p *printer) mapping(v reflect.Value, path, indent string) {
	for i, name := range keys(v.Type()) {
		full := join(path, name)
		if indent == "" && i > 0 {
			p.line("", "")
		}
		for _, comment := range p.comments[full] {
			p.line(indent, "# "+comment)
		}
		p.field(fieldByKey(v, name), full, name, indent)
	}
}

func (p *printer) field(v reflect.Value, path, name, indent string) {
	switch {
	case v.Kind() == reflect.Struct:
		p.line(indent, name+":")
		p.mapping(v, path, indent+"  ")
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct && v.Len() > 0:
		p.line(indent, name+":")
		for i := range v.Len() {
			p.entry(v.Index(i), indent+"  ")
		}
	default:
		p.line(indent, name+": "+inline(v))
	}
}

// entry writes one struct of a list, without comments: they would repeat for each.
func (p *printer) entry(v reflect.Value, indent string) {
	lead := "- "
	for _, name := range keys(v.Type()) {
		p.line(indent, lead+name+": "+inline(fieldByKey(v, name)))
		lead = "  "
	}
}

func (p *printer) line(indent, text string) {
	_, _ = p.out.WriteString(strings.TrimRight(indent+text, " ") + "\n") // Flush returns the error
}

// inline writes a value on one line.
func inline(v reflect.Value) string {
	switch value := v.Interface().(type) {
	case Bytes:
		return value.String()
	case Duration:
		return value.String()
	case BitRate:
		return value.String()
	case string:
		return quote(value)
	case bool:
		return strconv.FormatBool(value)
	case int:
		return strconv.Itoa(value)
	case float64:
		return strconv.FormatFloat(value, 'g', -1, 64)
	case map[string]string:
		var pairs []string
		for _, name := range slices.Sorted(maps.Keys(value)) {
			pairs = append(pairs, quote(name)+": "+quote(value[name]))
		}
		return "{" + strings.Join(pairs, ", ") + "}"
	case []string:
		quoted := make([]string, len(value))
		for i := range value {
			quoted[i] = quote(value[i])
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	}
	switch v.Kind() {
	case reflect.Slice:
		items := make([]string, v.Len())
		for i := range items {
			items[i] = inline(v.Index(i))
		}
		return "[" + strings.Join(items, ", ") + "]"
	case reflect.Struct: // of a list within a list's entry
		var pairs []string
		for _, name := range keys(v.Type()) {
			if field := fieldByKey(v, name); !field.IsZero() {
				pairs = append(pairs, name+": "+inline(field))
			}
		}
		return "{" + strings.Join(pairs, ", ") + "}"
	default:
	}
	panic("configs: the schema has a field of type " + v.Type().String())
}

// quote leaves plain words alone and writes everything else between double quotes.
func quote(text string) string {
	plain := text != "" && !strings.ContainsFunc(text, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '/' && r != '.'
	})
	if plain && !token.IsNeedQuoted(text) {
		return text
	}
	return strconv.Quote(text)
}

// comments reads the comment above every key of a YAML text: those of a list's entries are written sites[].hosts.
func comments(text string) map[string][]string {
	found := map[string][]string{}
	var block []string
	var path []string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		body := strings.TrimLeft(line, " ")
		if comment, ok := strings.CutPrefix(body, "#"); ok {
			block = append(block, strings.TrimPrefix(comment, " "))
			continue
		}
		name, _, ok := strings.Cut(strings.TrimPrefix(body, "- "), ":")
		if !ok || body == "" {
			block = nil
			continue
		}
		depth := (len(line) - len(strings.TrimLeft(line, " -"))) / 2
		for i := 0; i < min(depth, len(path)); i++ {
			if strings.HasSuffix(path[i], "[]") {
				depth-- // the dash is a level of indentation, but no key
			}
		}
		path = path[:min(depth, len(path))]
		if strings.HasPrefix(body, "- ") && len(path) > 0 {
			path[len(path)-1] = strings.TrimSuffix(path[len(path)-1], "[]") + "[]"
		}
		path = append(path, name)
		found[strings.Join(path, ".")] = block
		block = nil
	}
	return found
}

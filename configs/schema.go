package configs

import (
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// addressKeys lists the keys that hold one host:port.
func addressKeys() []string {
	return []string{
		"listen.http", "listen.https", "listen.admin",
		"cluster.gossip", "cluster.advertise", "cluster.peer", "cluster.wan.gossip", "cluster.wan.advertise", "origin.http",
	}
}

func fieldByKey(v reflect.Value, name string) reflect.Value {
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("yaml") == name && name != "" {
			return v.Field(i)
		}
	}
	return reflect.Value{}
}

// keys lists the keys of a struct in the order of its fields.
func keys(t reflect.Type) []string {
	var names []string
	for field := range t.Fields() {
		if name := field.Tag.Get("yaml"); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// schema lists the path of every key; a list's items are written sites[].hosts.
func schema() []string { return collect(reflect.TypeFor[Config](), "") }

func collect(t reflect.Type, path string) []string {
	var all []string
	for field := range t.Fields() {
		name := field.Tag.Get("yaml")
		if name == "" {
			continue
		}
		full := join(path, name)
		all = append(all, full)
		switch {
		case field.Type.Kind() == reflect.Struct:
			all = append(all, collect(field.Type, full)...)
		case field.Type.Kind() == reflect.Slice && field.Type.Elem().Kind() == reflect.Struct:
			all = append(all, collect(field.Type.Elem(), full+"[]")...)
		}
	}
	return all
}

// hintKey guesses what an unknown key was meant to be: a near one here, the same one elsewhere, or one of those here.
func hintKey(path, name string, here []string) string {
	best, bestDistance := "", 3
	for _, candidate := range here {
		if d := distance(strings.ToLower(name), candidate); d < bestDistance && d < len(candidate) {
			best, bestDistance = candidate, d
		}
	}
	if best != "" {
		return "did you mean " + best + "?"
	}
	for _, full := range schema() {
		if full == name || strings.HasSuffix(full, "."+name) {
			return "did you mean " + full + "?"
		}
	}
	if path == "" {
		return "the keys are " + strings.Join(here, ", ")
	}
	return "the keys of " + path + " are " + strings.Join(here, ", ")
}

// maxWord bounds the work of distance, which is quadratic; no key is longer.
const maxWord = 64

// distance is the number of letters to insert, remove, replace or swap with their neighbour to make b of a.
func distance(a, b string) int {
	if len(a) > maxWord || len(b) > maxWord {
		return maxWord
	}
	before, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next := make([]int, len(b)+1)
		next[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next[j+1] = min(row[j+1]+1, next[j]+1, row[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// position returns where a node begins, from 1; 0, 0 if the parser does not say.
func position(node ast.Node) (line, column int) {
	if mapping, ok := node.(*ast.MappingNode); ok && !mapping.IsFlowStyle && len(mapping.Values) > 0 {
		return position(mapping.Values[0].Key)
	}
	if token := node.GetToken(); token != nil && token.Position != nil {
		return token.Position.Line, token.Position.Column
	}
	return 0, 0
}

// kind names what a node is, for messages.
func kind(node ast.Node) string {
	switch node.Type() {
	case ast.StringType, ast.LiteralType:
		return "text"
	case ast.IntegerType, ast.FloatType, ast.InfinityType, ast.NanType:
		return "a number"
	case ast.BoolType:
		return "true or false"
	case ast.MappingType, ast.MappingValueType:
		return "a group of keys"
	case ast.SequenceType:
		return "a list"
	case ast.AnchorType, ast.AliasType:
		return "an anchor or alias (not supported)"
	case ast.TagType:
		return "a tag (not supported)"
	case ast.NullType:
		return "nothing"
	default:
		return "something else"
	}
}

// source returns what stands in the file for a scalar, and a placeholder for anything longer.
func source(node ast.Node) string {
	switch word := node.(type) {
	case *ast.StringNode:
		return short(word.Value)
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return short(strings.TrimSpace(word.GetToken().Value))
	}
	return "the value"
}

// short keeps a message on one line.
func short(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > 60 {
		return string(slices.Concat(runes[:59], []rune("…")))
	}
	return text
}

// fieldByPath returns the text at a path of struct keys.
func fieldByPath(c *Config, path string) string {
	v := reflect.ValueOf(c).Elem()
	for name := range strings.SplitSeq(path, ".") {
		v = fieldByKey(v, name)
	}
	return v.String()
}

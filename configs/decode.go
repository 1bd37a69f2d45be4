package configs

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// decoder walks the syntax tree beside the Config and fills it. It never stops at a problem.
type decoder struct {
	file     string
	marks    map[string]mark
	problems Problems
}

func (d *decoder) decodeRoot(root *ast.MappingNode, c *Config) {
	d.mapping(root, "", reflect.ValueOf(c).Elem())
}

func (d *decoder) add(line, column int, key, text, hint string) {
	d.problems = append(d.problems, &Problem{
		File: d.file, Line: line, Column: column, Key: key, Text: text, Hint: hint,
	})
}

// mapping fills a struct from the keys of a mapping.
func (d *decoder) mapping(node *ast.MappingNode, path string, into reflect.Value) {
	seen := map[string]int{}
	for _, pair := range node.Values {
		name, line, column, ok := d.key(pair, path)
		if !ok {
			continue
		}
		full := join(path, name)
		if first, twice := seen[name]; twice {
			d.add(line, column, full, fmt.Sprintf("the key is here a second time, first in line %d", first), "remove one")
			continue
		}
		seen[name] = line
		field := fieldByKey(into, name)
		if !field.IsValid() {
			d.add(line, column, full, "no such key", hintKey(path, name, keys(into.Type())))
			continue
		}
		d.value(pair.Value, full, line, column, field)
	}
}

// key returns the name and place of a pair's key.
func (d *decoder) key(pair *ast.MappingValueNode, path string) (name string, line, column int, ok bool) {
	line, column = position(pair.Key)
	switch key := pair.Key.(type) {
	case *ast.StringNode:
		return key.Value, line, column, true
	case *ast.MergeKeyNode:
		d.add(line, column, path, "<< is not supported", "write the keys out")
	default:
		d.add(line, column, path, "the key "+short(key.String())+" is no plain word", "")
	}
	return "", 0, 0, false
}

// value fills one field; line and column are those of its key or, in a list, of the item.
func (d *decoder) value(node ast.Node, path string, line, column int, into reflect.Value) {
	if node == nil || node.Type() == ast.NullType {
		d.marks[path] = mark{line, column, into.Interface()}
		return // a key with nothing behind it, such as a section whose lines are all comments, keeps its defaults
	}
	var err error
	switch target := into.Addr().Interface().(type) {
	case *Bytes:
		err = scalar(node, target.UnmarshalText)
	case *Duration:
		err = scalar(node, target.UnmarshalText)
	case *BitRate:
		err = scalar(node, target.UnmarshalText)
	default:
		err = d.byKind(node, path, into)
	}
	if err != nil {
		text, hint := split(err)
		d.add(line, column, path, text, hint)
		return
	}
	d.marks[path] = mark{line, column, into.Interface()}
}

func (d *decoder) byKind(node ast.Node, path string, into reflect.Value) error {
	switch into.Kind() {
	case reflect.Struct:
		mapping, ok := node.(*ast.MappingNode)
		if !ok {
			return &hinted{source(node) + " is " + kind(node), "write keys below it: " + strings.Join(keys(into.Type()), ", ")}
		}
		d.mapping(mapping, path, into)
		return nil
	case reflect.Slice:
		return d.list(node, path, into)
	case reflect.Map:
		return d.table(node, path, into)
	case reflect.Bool:
		return boolean(node, into)
	case reflect.Float64:
		return number(node, into)
	case reflect.Int:
		return count(node, into)
	case reflect.String:
		return text(node, path, into)
	default:
		panic("configs: the schema has a field of kind " + into.Kind().String())
	}
}

func (d *decoder) list(node ast.Node, path string, into reflect.Value) error {
	sequence, ok := node.(*ast.SequenceNode)
	if !ok {
		return &hinted{source(node) + " is " + kind(node) + ", not a list", listHint(node, into)}
	}
	list := reflect.MakeSlice(into.Type(), len(sequence.Values), len(sequence.Values))
	for i, item := range sequence.Values {
		line, column := position(item)
		d.value(item, itemPath(path, i), line, column, list.Index(i))
	}
	into.Set(list)
	return nil
}

func listHint(node ast.Node, into reflect.Value) string {
	if into.Type().Elem().Kind() == reflect.String {
		if word, ok := node.(*ast.StringNode); ok {
			parts := strings.Split(word.Value, ",")
			for i := range parts {
				parts[i] = strconv.Quote(strings.TrimSpace(parts[i]))
			}
			return "write [" + strings.Join(parts, ", ") + "]"
		}
		return `write ["…", "…"]`
	}
	return "begin each entry with a dash: - " + keys(into.Type().Elem())[0] + ": …"
}

// table fills a map of text to text.
func (d *decoder) table(node ast.Node, path string, into reflect.Value) error {
	mapping, ok := node.(*ast.MappingNode)
	if !ok {
		return &hinted{source(node) + " is " + kind(node), "write name: value pairs below it"}
	}
	table := map[string]string{}
	for _, pair := range mapping.Values {
		name, line, column, ok := d.key(pair, path)
		if !ok {
			continue
		}
		full := join(path, name)
		if _, twice := table[name]; twice {
			d.add(line, column, full, "the key is here a second time", "remove one")
			continue
		}
		var value string
		d.value(pair.Value, full, line, column, reflect.ValueOf(&value).Elem())
		table[name] = value
	}
	into.Set(reflect.ValueOf(table))
	return nil
}

// scalar hands the text of a scalar to a parser.
func scalar(node ast.Node, parse func([]byte) error) error {
	switch node.(type) {
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode:
		return parse([]byte(source(node)))
	}
	return &hinted{source(node) + " is " + kind(node), "write a number and a unit"}
}

func boolean(node ast.Node, into reflect.Value) error {
	if word, ok := node.(*ast.BoolNode); ok {
		into.SetBool(word.Value)
		return nil
	}
	hint := "write true or false"
	switch strings.ToLower(source(node)) {
	case "yes", "on", "1":
		hint = "write true"
	case "no", "off", "0":
		hint = "write false"
	}
	return &hinted{source(node) + " is neither true nor false", hint}
}

func number(node ast.Node, into reflect.Value) error {
	switch node.(type) {
	case *ast.IntegerNode, *ast.FloatNode:
		if value, err := strconv.ParseFloat(source(node), 64); err == nil {
			into.SetFloat(value)
			return nil
		}
	}
	return &hinted{source(node) + " is " + kind(node) + ", not a number", "write a number such as 1 or 2.5"}
}

// count takes whole numbers.
func count(node ast.Node, into reflect.Value) error {
	if _, ok := node.(*ast.IntegerNode); ok {
		if value, err := strconv.ParseInt(source(node), 10, 32); err == nil {
			into.SetInt(value)
			return nil
		}
	}
	return &hinted{source(node) + " is no whole number", "write a number such as 3"}
}

// text takes strings only: a number where a name or an address belongs is nearly always a slip.
func text(node ast.Node, path string, into reflect.Value) error {
	switch word := node.(type) {
	case *ast.StringNode:
		into.SetString(word.Value)
		return nil
	case *ast.LiteralNode:
		into.SetString(strings.TrimSuffix(word.Value.Value, "\n"))
		return nil
	case *ast.IntegerNode:
		if slices.Contains(addressKeys(), path) {
			return &hinted{source(node) + " is a number, not an address", "write " + strconv.Quote(":"+source(node))}
		}
	}
	if _, ok := node.(ast.ScalarNode); ok {
		return &hinted{source(node) + " is " + kind(node) + ", not text", "write " + strconv.Quote(source(node))}
	}
	return &hinted{source(node) + " is " + kind(node) + ", not text", "write one value, in quotes if it holds a colon"}
}

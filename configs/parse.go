package configs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxFileBytes bounds a configuration file: a thousand sites with ten origins each take a tenth of it.
const maxFileBytes = 1 << 20

// Load reads and parses the file at path, over the defaults. It does not validate: see [Config.Validate].
// The error is a [Problems], or says why the file could not be read.
func Load(path string) (*Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			if full, absErr := filepath.Abs(path); absErr == nil {
				path = full
			}
			return nil, fmt.Errorf("read configuration: there is no file %s: %w", path, os.ErrNotExist)
		}
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(path, text)
}

// Parse reads a configuration from the bytes of a file, over the defaults; name is used in messages only. It finds
// every unknown key, missing unit and wrong type at once and returns them as a [Problems]. It does not validate:
// see [Config.Validate]. The result is the caller's.
func Parse(name string, text []byte) (*Config, error) {
	c := Default()
	c.file = name
	c.marks = map[string]mark{}
	d := &decoder{file: name, marks: c.marks}
	if root := d.parse(text); root != nil {
		d.decodeRoot(root, c)
	}
	if len(d.problems) > 0 {
		return nil, d.problems
	}
	return c, nil
}

// parse returns the root mapping, nil if the document is empty or broken.
func (d *decoder) parse(text []byte) (root *ast.MappingNode) {
	if len(text) > maxFileBytes {
		d.add(0, 0, "", fmt.Sprintf("the file has %d bytes", len(text)), "the most is "+strconv.Itoa(maxFileBytes))
		return nil
	}
	if !utf8.Valid(text) {
		d.add(0, 0, "", "the file is not UTF-8", "save it as UTF-8 text")
		return nil
	}
	// The YAML parser is written by others and reads what people type: a panic in it is bad input to us.
	defer func() {
		if r := recover(); r != nil {
			d.add(0, 0, "", fmt.Sprintf("the YAML cannot be read (%v)", r), "")
			root = nil
		}
	}()
	file, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		d.addSyntax(err)
		return nil
	}
	return d.root(file)
}

func (d *decoder) root(file *ast.File) *ast.MappingNode {
	var bodies []ast.Node
	for _, document := range file.Docs {
		if document.Body != nil && document.Body.Type() != ast.NullType && document.Body.Type() != ast.CommentType {
			bodies = append(bodies, document.Body)
		}
	}
	if len(bodies) == 0 {
		return nil
	}
	if len(bodies) > 1 {
		line, column := position(bodies[1])
		d.add(line, column, "", "the file has a second document", "keep one and remove the line with ---")
		return nil
	}
	root, ok := bodies[0].(*ast.MappingNode)
	if !ok {
		line, column := position(bodies[0])
		d.add(line, column, "", kind(bodies[0])+" instead of keys", "begin with a line such as cache:")
		return nil
	}
	return root
}

func (d *decoder) addSyntax(err error) {
	if syntax, ok := errors.AsType[*yaml.SyntaxError](err); ok && syntax.Token != nil && syntax.Token.Position != nil {
		d.add(syntax.Token.Position.Line, syntax.Token.Position.Column, "", syntax.Message, "")
		return
	}
	d.add(0, 0, "", err.Error(), "")
}

package configs

import "embed"

// files holds the commented examples.
//
//go:embed *.yaml
var files embed.FS

// Reference returns reference.yaml, which documents every key and holds every default.
func Reference() []byte {
	text, err := files.ReadFile("reference.yaml")
	if err != nil {
		panic("configs: reference.yaml is not embedded: " + err.Error())
	}
	return text
}

// Examples lists the names of the embedded files, for [Example].
func Examples() []string {
	return []string{"edge.yaml", "edge-cluster.yaml", "edge-relay.yaml", "origin.yaml", "reference.yaml"}
}

// Example returns the embedded file of that name; ok is false if there is none.
func Example(name string) (text []byte, ok bool) {
	text, err := files.ReadFile(name)
	return text, err == nil
}

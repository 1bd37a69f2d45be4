// Package configs describes one Weir node: the schema of its YAML file, the defaults, the units and the commented examples.
//
// [Load] and [Parse] read a file and check its shape: unknown keys, duplicate keys, wrong types and numbers without
// a unit are errors that name file, line, column, key and what to write instead. [Config.Validate] checks what the
// values mean (ports, URLs, hosts that two sites claim …) and finds all problems, not only the first. The two are
// apart because a command overrides fields of the [Config] with its flags in between; Validate cites a line only
// where the value still is the one of the file.
//
// [Default] holds every default. The file reference.yaml, embedded as [Reference], documents every key; the tests
// hold it to the schema and to the defaults, and [Config.Print] takes its comments from it, so there is one text.
//
// The package holds no secret: keys, tokens and the cluster's secret are file names here, read by whoever needs them.
package configs

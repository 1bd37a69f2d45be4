//go:build invariants || race

package cache

// checked tells whether broken promises of our own code panic.
const checked = true

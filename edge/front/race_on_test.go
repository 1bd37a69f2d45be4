//go:build race

package front

// underRace tells that the race detector is built in, which needs memory of its own.
const underRace = true

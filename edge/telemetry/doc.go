// Package telemetry turns finished requests into metrics and log lines, and sends profiles to a Pyroscope server.
//
// Nothing imports it but the command that joins the parts: packages count in atomics of their own or call a func for
// each finished request, and the command feeds [Metrics] with them.
//
//   - [Metrics] counts [Record]s in fixed tables of atomics and shows them to Prometheus from a registry of its own.
//     [Metrics.Observe] allocates nothing and takes no lock. Every label has a bounded set of values.
//   - [AccessLog] writes a line for each Record from a goroutine of its own. When the disk is slower than the clients
//     it drops lines and counts them; it never holds a request up.
//   - [Profiles] pushes profiles of the whole process.
//
// What tells a viewer's identity stays out: [Redact] blanks tokens and credentials in everything that is logged.
//
// Durations are counted in buckets whose bounds are powers of the square root of two, shared by all: two nodes' buckets
// add up, every second bound is a power of two (those go to Prometheus, where they convert to native histograms
// without loss), and a quantile read from them is at most 41 % off.
package telemetry

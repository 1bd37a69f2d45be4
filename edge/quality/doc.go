// Package quality tells how viewers fare: start-up time, stalls, bitrates, errors, by title, edge, rendition and network.
//
// A [Ledger] takes [Sample]s, one for each request or event in which a player reports about itself (CMCD, CTA-5004-B), at
// whatever edge that comes in. A viewer moves between edges, so what belongs to one session is brought together at one node: each
// edge adds up what it has seen, and every few seconds sends it to the owner of the session's hash ([Options.Owner]), in
// batches. The owner follows the session to its end, an event, or a minute and a half without a word, and then
// adds it to the figures of its title, and of the edges, renditions and networks that it used. [Ledger.Summary] is what an
// owner has; summaries of several nodes add up ([Merge]).
//
// # What is counted
//
// Start-up is what the player says (msd), or else the time from the first request with su to the first without. Stalled time
// is what the player says (bsd), or else half a second for each request with bs. Watched time is the duration of the video
// objects that were asked for; where a player reports by events alone it is the time between two of them, up to a minute, of which
// the first says that it plays. A bitrate counts as long as its
// objects last; a switch is a video object of another bitrate than the one before. A session whose player reports
// nothing that can be counted has no share in what it does not tell.
//
// # What is not kept
//
// No address and no id of a viewer leaves the request: a session is a keyed hash of its id and of the day, so that two days cannot be
// joined; a network is the number of its autonomous system, or else the address cut to /24 and /48. A session that is over is
// in sums alone, and sums are by hour and kept for a day.
//
// # What was watched offline
//
// Players that keep titles report what was watched without a network when there is one again. Such a sample says when it was,
// up to [MaxAge] ago: its session follows those times, counts by title under [OfflineKind] alone, in the hour in which it was
// told, and is no viewer of now, no part of the totals, and no reason for a hint. That a batch counts once is up to whoever
// takes it in.
//
// # Two processes
//
// A process that takes over as a node gets what the one before has, sessions that are followed and the sums of the day, and
// once more what comes to that one while it drains ([Ledger.Export]).
//
// # Hints
//
// [Summary.Hints] names an edge, a rendition or a network that falls behind: at least 20 sessions, and a share of stalled
// time, or of sessions with errors, that is above 1 % and above three times that of all others together.
// [Ledger.Hints] are those of one node alone: whose sessions it owns is decided by a hash, so they are a fair sample, but of fewer.
//
// # Bounds
//
// What a player says of an object counts up to a minute, of a start or a stall up to ten; what is beyond is not believed.
//
// 100,000 sessions that are followed, 20,000 that wait to be sent, 500 names of each kind in an hour, after which more
// count under "other". What is beyond is counted in [Stats.Dropped].
package quality

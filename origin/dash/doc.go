// Package dash writes static MPDs for video on demand in CMAF segments.
//
// An [MPD] holds adaptation sets of representations, whose segments are numbered from 1 and listed by a
// SegmentTimeline, so that uneven segments are timed exactly. It follows ISO/IEC 23009-1, the live profile
// for templates, and names the CMAF profile beside it.
package dash

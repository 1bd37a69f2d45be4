// Package cmaf turns plain MP4 files into CMAF: it reads their sample index, plans segments over several files and
// writes initialisation segments and fragment headers.
//
// [Parse] reads the moov box of a file into a [Movie] of [Track] values. [NewPlan] cuts the tracks of one title at the
// sync points that all its video tracks share and yields a [Rendition] for each track. A segment of a rendition is a
// header that is written on request ([Rendition.AppendHeader], about a microsecond) followed by ranges of the source
// file ([Segment.Ranges]), so the media itself is never read here and can be sent by the kernel.
//
// # What is read
//
// H.264, HEVC, AV1 and VP9 video, AAC, MP3, AC-3, E-AC-3, Opus and FLAC audio, in files whose samples are all listed
// in moov. Tracks of other kinds (subtitles, time codes, cover pictures) are left out. Fragmented and encrypted sources are
// refused. Parsed values are immutable and may be used by many goroutines at once.
//
// The sample tables are parsed here and not by mp4ff: its decoders allocate by the counts that a box claims before they
// look at the box's length (32 GiB for one hostile stts of 16 bytes), and its sample access is many times slower.
// Here every count is checked against the bytes that are there, so a file costs memory in proportion to its size.
// mp4ff writes the initialisation segments; the sample entry goes into them as the source's own bytes, so codecs
// need no code beyond their CODECS string.
//
// # Why: edit lists
//
// A source's edit list moves and trims a track: B-frames make the first frame's composition time positive, an AAC
// encoder's priming must not be heard, a track may start late. The result must be timed exactly like the source.
// An offset to a later time is added to tfdt. An offset to an earlier time, as B-frames and priming need it, cannot be,
// since tfdt has no sign: it becomes one edit list entry in the initialisation segment, which is the form
// that the CMAF brand cmfc allows and that ffmpeg's own HLS and DASH muxers write. Decode times and composition offsets stay the source's.
//
// The other way for B-frames is to fold the offset into signed composition offsets (brand cmf2, no edit list). It was
// tried: ffmpeg 5.1 then presents video later by the largest negative offset (33 ms at 30 frames/s), out of step with the
// sound; with the edit list its pictures and times equal the source's. Of sound, ffmpeg trims priming for plain files
// only: it hands out the priming frame at its time before zero. Samples that lie wholly behind the end of the edit are left out. Several edits in a row, or edits at another
// speed, are refused.
//
// # Why: segments of about two seconds
//
// A player shows its first picture when it has its first segment, and a viewer who seeks waits for one, so segments
// are as short as they can be without costing requests: groups of pictures are joined until 1.8 s are reached (so that
// 2 s groups at 29.97 or 25 frames/s stay alone) and never split.
package cmaf

// Package disk keeps one file per object and gives back only bytes that it can prove.
//
// A file is body, trailer, footer. The body stands at offset 0, so sendfile needs no sum. The trailer is a blob of the
// caller's (the response head) and a table with one CRC32C per 64 KiB of body; the footer, 64 bytes at the very end,
// has the lengths and the checksums of both, the object's ID and the format's version. A new head for the same body is
// appended as another trailer and footer, so readers of the body notice nothing; after MaxAppends the file has to be
// written anew.
//
// Files lie in 256 directories under the root, named by the hex of their 128-bit ID: the path follows from the ID, and
// objects can be served before anything has been listed. A file is written without a name (O_TMPFILE) in its directory
// and linked when it is whole; where the file system cannot do that, it is created under a temporary name and renamed.
//
// A Journal beside them remembers what an index knows of the objects, so that a start need not list the directories.
//
// # What it promises
//
// Nothing is synced: a crash may lose files or tear them. A file whose footer, trailer or length is wrong is removed and
// reported as ErrCorrupt. With Open's verify the body is checked too; a caller asks for that on the first open after a
// start, because only what was written by an earlier process can have been torn. One process owns a root: New takes a
// lock, and a second New returns ErrLocked, unless the first owner has released it: then that one only reads.
//
// # What it leaves out
//
// It keeps no index, counts no bytes, starts no goroutine, and does not know what a Record's Version and Hint mean. Create,
// Open, Append and Remove of different IDs may run at the same time; for one ID the caller makes them follow one another.
//
// All system calls go through FS: Real is the machine's, Fault fails a chosen call, Memory forgets in a crash what was not
// synced.
package disk

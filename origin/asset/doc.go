// Package asset finds titles: folders of MP4 renditions, single MP4 files and folders that are already packaged.
//
// A [Source] knows titles by name. [Directory] reads them below one folder of the file system, [Demo] holds the
// sample title that is part of the program, and [Join] asks several sources in turn. A [Title] says which files it
// is made of and opens them; nothing is cached here, so what is on disk now is what a caller sees.
//
// What a directory holds becomes titles by these rules. A folder with .m3u8 or .mpd files is one packaged title,
// whatever lies below it. Another folder with .mp4, .m4v, .mov or .m4a files is a title of renditions; folders
// nest, and the path below the root is the title's name. A single file film.mp4 in the root is the title film,
// unless there is a folder of that name. Names that begin with a dot are neither listed nor opened.
//
// Nothing outside the root can be read: names are checked with [fs.ValidPath] and opened through [os.Root], so a
// symbolic link that leads outside answers [fs.ErrNotExist] like a name that is not there. Links to files inside the
// root work; linked folders are not listed, which keeps a loop of links from listing for ever.
package asset

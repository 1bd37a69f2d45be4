// Reads manifests with parsers of others. In: a list of {name, text}; out: for each the URLs that it leads to, or why it is
// refused, as JSON.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import * as hls from 'hls-parser'

const mpd = createRequire(import.meta.url)('mpd-parser')
hls.setOptions({ strictMode: true })

function ofHLS(text) {
  const playlist = hls.parse(text)
  const urls = []
  if (playlist.isMasterPlaylist) {
    for (const v of playlist.variants) {
      urls.push(v.uri)
      for (const group of [v.audio, v.video, v.subtitles, v.closedCaptions]) {
        for (const r of group) if (r.uri) urls.push(r.uri)
      }
    }
  } else {
    for (const s of playlist.segments) {
      urls.push(s.uri)
      if (s.map) urls.push(s.map.uri)
      if (s.key?.uri) urls.push(s.key.uri)
      for (const p of s.parts) urls.push(p.uri)
    }
  }
  return urls
}

function ofDASH(text) {
  const manifest = mpd.parse(text, { manifestUri: 'https://edge.example/v/manifest.mpd' })
  const playlists = [...manifest.playlists]
  for (const kind of Object.values(manifest.mediaGroups)) {
    for (const group of Object.values(kind)) {
      for (const label of Object.values(group)) playlists.push(...label.playlists)
    }
  }
  const urls = []
  for (const p of playlists) {
    for (const s of p.segments) urls.push(s.resolvedUri, ...(s.map ? [s.map.resolvedUri] : []))
    if (p.sidx) urls.push(p.sidx.resolvedUri)
  }
  return urls
}

const out = {}
for (const { name, text } of JSON.parse(readFileSync(0, 'utf8'))) {
  try {
    out[name] = { urls: [...new Set(text.startsWith('#EXTM3U') ? ofHLS(text) : ofDASH(text))] }
  } catch (err) {
    out[name] = { error: String(err.message ?? err) }
  }
}
console.log(JSON.stringify(out))

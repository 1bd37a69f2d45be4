// Package token verifies and mints signed URLs and Common Access Tokens.
//
// A [Verifier] takes the tokens of its schemes off a request, so that key, upstream and log never see them, and decides
// whether what is left may be had. It sees the canonical path and query, the same that the response is stored under: a
// token for one path opens no other spelling of another. [Mint] makes tokens, [Explain] reads them.
//
// # Kinds
//
//   - cat: Common Access Token, CTA-5007-B: COSE_Mac0 with HS256, COSE_Sign1 with ES256 and PS256
//   - uri-signing: RFC 9246, JWS with HS256, ES256, PS256 and RS256; a regex of cdniuc has to match the whole URI; cdniip
//     that is encrypted is refused
//   - akamai: EdgeAuth 2.0, by URL and by ACL
//   - cloudfront: signed URLs and cookies, canned and custom policies, RSA and ECDSA, SHA-1 and SHA-256
//   - type-a, type-b, type-c, type-f: the URL signing of Alibaba and Tencent, and secure-link, nginx's: MD5 over a secret
//     and the path, for those who come from there
//
// HMAC-SHA-256 needs a secret that nobody can guess: those of cat and uri-signing have 16 bytes at least (RFC 7518, 3.2 wants
// 32, issuers in the field use 16). Other kinds take what their issuers hand out ([Keys.Check]).
//
// A token may stand in a field, in the URL and in a cookie, and is tried in this order; one that is good is enough, so that
// an old URL may go on with a new cookie. Twice in one of them refuses the request, but for cookies.
//
// # Claims
//
// All claims of CTA-5007-B and the composites or, nor and and are read. What cannot be checked refuses: an unknown claim or
// header that is critical (crit), an unknown version, component or way to match, and enc. Other unknown claims say nothing
// (RFC 8392, 3). A time is over at its second (RFC 7519, 4.1.4), give or take [Options.Leeway]; a token without exp never
// ends. catif's answers and catr's renewals are made with the keys here; a token renewed is the same but for exp, and for cti
// where it is good once.
//
// One-time tokens (catreplay 1) are told by issuer and cti, or else by all that they say, however they are written, and
// [Options.Once] says whether one is used for the first time; where it cannot say they are refused, and so they are in early
// data (RFC 8470). With reuse detection (2) each use but the first is told, and allowed: [Replays] tells one on this node, and
// [Options.Seen] is asked at the first use here whether it is one in the region.
//
// A token with cnf, the thumbprint of a key (jkt), opens with a proof of that key in the field DPoP (RFC 9449, with ES256,
// PS256 or RS256): for this method, URL and token, made within the window of catdpop, 300 s where that is silent, and good
// once, as one-time tokens are, unless catdpop says otherwise (jti 0): each costs the owners of its hash a message, and
// [Options.Admit] bounds how many one key may have remembered. Its URL
// has to have the path in canonical form. A proof is one more signature for each request, which is not remembered. cnf in
// other forms, and inside of composites, refuses.
//
// cattprint binds a token to what a client's TLS says first: JA4 (fingerprint-type 2), the same for all connections of a
// client, or JA3 (0), which browsers that shuffle their extensions have another one of each time. Over QUIC it is another one
// than over TCP, and a client that resumes a session may have one more, for its pre_shared_key: an issuer lists them in or.
// Kinds that a ClientHello does not tell (JA4H, JA4T and so on) refuse. A refusal's text names the fingerprint that there was.
//
// # What it costs
//
// What a good token says is remembered, and held against each request anew, so that memory never opens what the token
// does not. A check of a token that was seen before takes no allocation (one where its URI must be put together) and 0.8 µs.
// The first takes 12 µs for HS256, 46 for PS256 and 94 to 104 for ES256, with thirteen claims; of the last 80 to 86 are
// crypto/ecdsa's, 1.15 to 1.21 times of which the whole is (BenchmarkFirstCheck, the best of many on a busy machine of 2026).
// Bad tokens are not remembered.
// Signatures are compared in constant time.
//
// An [Error] says exactly what was wrong, without secret or token; it is for logs and issuers. Clients get a status.
package token

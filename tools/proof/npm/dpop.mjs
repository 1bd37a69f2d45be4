// Makes keys and proofs of possession (RFC 9449) with another implementation. In: algorithm, and key, url, method, token for a
// proof; out: thumbprint and key, or the proof, as JSON.
import { readFileSync } from 'node:fs'
import * as dpop from 'dpop'

const asked = JSON.parse(readFileSync(0, 'utf8'))
const how = {
  ES256: { name: 'ECDSA', namedCurve: 'P-256' },
  PS256: { name: 'RSA-PSS', hash: 'SHA-256' },
  RS256: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' },
}[asked.algorithm]
if (!asked.key) {
  const pair = await dpop.generateKeyPair(asked.algorithm, { extractable: true })
  const thumbprint = await dpop.calculateThumbprint(pair.publicKey)
  const key = JSON.stringify(await crypto.subtle.exportKey('jwk', pair.privateKey))
  console.log(JSON.stringify({ thumbprint, key }))
} else {
  const whole = JSON.parse(asked.key)
  const { kty, crv, x, y, n, e } = whole
  const privateKey = await crypto.subtle.importKey('jwk', whole, how, false, ['sign'])
  const publicKey = await crypto.subtle.importKey('jwk', JSON.parse(JSON.stringify({ kty, crv, x, y, n, e })), how, true, ['verify'])
  console.log(JSON.stringify({ proof: await dpop.generateProof({ privateKey, publicKey }, asked.url, asked.method, undefined, asked.token) }))
}

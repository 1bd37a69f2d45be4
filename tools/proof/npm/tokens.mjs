// Makes tokens with the issuers of others, and has them read ours. In: keys, a time, and tokens; out: tokens and verdicts, as JSON.
import { createRequire } from 'node:module'
import { readFileSync } from 'node:fs'
import { CAT } from '@eyevinn/cat'
import EdgeAuth from 'akamai-edgeauth'
import { getSignedUrl, getSignedCookies } from '@aws-sdk/cloudfront-signer'

const cose = createRequire(import.meta.url)('cose-js') // @eyevinn/cat brings it
const cbor = createRequire(import.meta.url)('cbor-x')
const asked = JSON.parse(readFileSync(0, 'utf8'))
const secret = Buffer.from(asked.secret, 'hex')
const issuer = new CAT({ keys: { h1: secret }, expectCwtTag: true })
const mac = { type: 'mac', alg: 'HS256', kid: 'h1' }

const cat = {}
for (const [name, claims] of Object.entries(asked.cat)) {
  cat[name] = await issuer.generateFromJson(claims, mac)
}
const payload = new cbor.Encoder({ mapsAsObjects: false, useRecords: false }).encode(new Map([[4, asked.now + 60], [2, 'cose-js']]))
const ec = { d: Buffer.from(asked.ec.d, 'hex'), x: Buffer.from(asked.ec.x, 'hex'), y: Buffer.from(asked.ec.y, 'hex') }
const signed = await cose.sign.create({ p: { alg: 'ES256' }, u: { kid: 'e1' } }, payload, { key: ec })
cat.es256 = signed.toString('base64url')

const verdicts = {}
for (const [name, text] of Object.entries(asked.ours)) {
  try {
    const { cat, error } = await issuer.validate(text, 'mac', { issuer: 'weir', audience: ['edge'], url: new URL('https://a.example/vod/a.m4s') })
    verdicts[name] = error ? error.message : 'good for ' + cat.claims.sub
  } catch (err) {
    verdicts[name] = String(err.message)
  }
}
try {
  const got = await cose.sign.verify(Buffer.from(asked.sign1, 'hex'), { key: ec })
  verdicts.sign1 = got.toString('hex')
} catch (err) {
  verdicts.sign1 = String(err.message)
}

const auth = options => new EdgeAuth({ key: asked.akamai, endTime: asked.now + 60, ...options })
const akamai = {
  acl: auth({}).generateACLToken(['/vod/*', '/live/*']),
  url: auth({}).generateURLToken('/vod/a.m4s'),
  salted: auth({ salt: 'salty' }).generateURLToken('/vod/a.m4s'),
  escaped: auth({ escapeEarly: true, sessionId: 'a~b', payload: 'x=y' }).generateURLToken('/vod/a b~c.m4s'),
  full: auth({ startTime: asked.now - 5, ip: '192.0.2.7', sessionId: 'me', payload: 'data' }).generateACLToken('/*')
}

const url = 'https://a.example/vod/a.m4s?b=1'
const common = { keyPairId: 'K1', privateKey: asked.rsa }
const until = new Date((asked.now + 60) * 1000)
const policy = JSON.stringify({ Statement: [{ Resource: 'https://a.example/vod/*', Condition: { DateLessThan: { 'AWS:EpochTime': asked.now + 60 }, IpAddress: { 'AWS:SourceIp': '192.0.2.0/24' } } }] })
const cloudfront = {
  canned: getSignedUrl({ ...common, url, dateLessThan: until }),
  sha256: getSignedUrl({ ...common, url, dateLessThan: until, algorithm: 'SHA256' }),
  custom: getSignedUrl({ ...common, url, policy }),
  span: getSignedUrl({ ...common, url, dateLessThan: until, dateGreaterThan: new Date((asked.now - 60) * 1000), ipAddress: '192.0.2.7' })
}
const cookies = {
  canned: getSignedCookies({ ...common, url, dateLessThan: until }),
  sha256: getSignedCookies({ ...common, url, dateLessThan: until, algorithm: 'SHA256' }),
  custom: getSignedCookies({ ...common, policy })
}
console.log(JSON.stringify({ cat, verdicts, akamai, cloudfront, cookies }))

// Holds the endpoints for players against their own OpenAPI document: the document is checked against the standard's schema, a
// client is generated from it, and every answer that this gets is checked against the schema that the document has for it.
//
//   node sdk.mjs http://127.0.0.1:8080
import { Validator } from "@seriousme/openapi-schema-validator";
import Ajv2020 from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import axios from "axios";
import { OpenAPIClientAxios } from "openapi-client-axios";

const base = process.argv[2];
const failures = [];
const used = {};

const document = (await axios.get(`${base}/sdk/v1/openapi.json`)).data;
const verdict = await new Validator().validate(structuredClone(document));
if (!verdict.valid) failures.push(`the document: ${JSON.stringify(verdict.errors)}`);

const ajv = new Ajv2020({ strict: false, allErrors: true });
addFormats(ajv);
ajv.addSchema(document, "api");

/** The schema of an operation's answer, as a pointer into the document. */
function schemaOf(operation, status, type) {
  for (const [path, item] of Object.entries(document.paths)) {
    for (const [method, o] of Object.entries(item)) {
      if (o.operationId !== operation) continue;
      let at = `/paths/${path.replaceAll("~", "~0").replaceAll("/", "~1")}/${method}/responses/${status}`;
      let response = o.responses[status];
      if (response === undefined) return undefined;
      if (response.$ref) {
        at = response.$ref.slice(1);
        response = document.components.responses[at.split("/").pop()];
      }
      const name = Object.keys(response.content ?? {}).find((n) => n.split(";")[0] === type);
      if (name === undefined) return response.content ? undefined : null;
      return `api#${at}/content/${name.replaceAll("/", "~1")}/schema`.replaceAll("{", "%7B").replaceAll("}", "%7D");
    }
  }
  return undefined;
}

function check(operation, answer, want) {
  (used[operation] ??= []).push(answer.status);
  const type = (answer.headers["content-type"] ?? "").split(";")[0];
  if (answer.status !== want) failures.push(`${operation}: status ${answer.status}, want ${want}: ${JSON.stringify(answer.data)}`);
  const schema = schemaOf(operation, answer.status, type);
  if (schema === undefined) return failures.push(`${operation}: the document knows no ${answer.status} of type ${type}`);
  if (schema === null) return answer.data && failures.push(`${operation}: ${answer.status} has a body`);
  const validate = ajv.getSchema(schema);
  if (!validate(answer.data)) failures.push(`${operation} ${answer.status}: ${ajv.errorsText(validate.errors)}: ${JSON.stringify(answer.data)}`);
  return answer.data;
}

/** Axios takes every text that looks like JSON for it. */
function transformResponse(text, headers) {
  return /json/.test(headers["content-type"] ?? "") && text ? JSON.parse(text) : text;
}

const api = new OpenAPIClientAxios({ definition: document, axiosConfigDefaults: { baseURL: base, validateStatus: () => true, transformResponse } });
const client = await api.init();
client.defaults.baseURL = base;
const as = (account) => ({ headers: { Authorization: `Bearer ${account}` } });
const call = async (operation, want, parameters, body, options) => check(operation, await client[operation](parameters, body, options), want);

for (const device of ["tv", "car", "phone", "web"]) await call("getConfig", 200, { device });
await call("getConfig", 400, { device: "fridge" });

const capabilities = { codecs: ["avc1.640028", "mp4a.40.2"], max_height: 1080, max_frame_rate: 60, hdr: [], network: "metered" };
const one = await call("play", 201, null, { asset: "demo", device: "tv", label: "living room", capabilities }, as("ann"));
const two = await call("play", 201, null, { asset: "demo", device: "phone" }, as("ann"));
const no = await call("play", 409, null, { asset: "demo" }, as("ann"));
if (no.sessions.map((s) => s.session).sort().join() !== [one.session, two.session].sort().join()) failures.push(`the conflict names ${JSON.stringify(no)}`);
await call("play", 401, null, { asset: "demo" });
await call("play", 400, null, { asset: "../x" }, as("ann"));
await call("play", 404, null, { asset: "gone" }, as("ann"));
await call("play", 406, null, { asset: "8k" }, as("ann"));
await call("play", 415, null, "asset=demo", { headers: { Authorization: "Bearer ann", "Content-Type": "text/plain" } });
await call("play", 413, null, { asset: "demo", label: "x".repeat(20000) }, as("ann"));
await call("play", 201, { "Idempotency-Key": "k" }, { asset: "demo" }, as("bob"));
await call("play", 422, { "Idempotency-Key": "k" }, { asset: "other" }, as("bob"));

await call("heartbeat", 200, { id: one.session }, { state: "p", position_s: 1.5, driving: false });
await call("heartbeat", 200, { id: one.session });
await call("heartbeat", 400, { id: one.session }, { position_s: "x" });
await call("heartbeat", 404, { id: "x".repeat(32) });
await call("assist", 200, { id: one.session });
await call("assist", 404, { id: "x".repeat(32) });
const token = await call("renewToken", 200, null, { session: one.session });
if (one.token.value === token.value || token.carry !== "query") failures.push(`the token is ${JSON.stringify(token)}`);
await call("renewToken", 404, null, { session: "x".repeat(32) });
await call("endSession", 204, { id: one.session });
await call("renewToken", 410, null, { session: one.session });
await call("heartbeat", 410, { id: one.session });
await call("endSessionByBeacon", 204, { id: two.session });
await call("endSession", 404, { id: "x".repeat(32) });

const taken = await call("newDownload", 201, null, { asset: "demo", device: "phone", max_bytes: 100000 }, as("cid"));
if (taken.bytes > 100000 || !taken.exact || taken.files !== 5) failures.push(`the download is ${JSON.stringify(taken)}`);
await call("newDownload", 409, null, { asset: "demo" }, as("cid"));
await call("newDownload", 409, null, { asset: "demo", max_bytes: 10 }, as("dan"));
await call("newDownload", 404, null, { asset: "gone" }, as("dan"));
await call("newDownload", 400, null, { asset: "demo", max_bytes: "x" }, as("dan"));
await call("keepDownload", 200, { id: taken.download });
await call("endDownload", 204, { id: taken.download });
await call("keepDownload", 410, { id: taken.download });
await call("endDownload", 404, { id: "x".repeat(32) });

const cmcd = { headers: { "Content-Type": "application/cmcd" } };
await call("reportEvents", 204, null, "e=ps,sta=p,ts=1700000000000,v=2\ne=t,ts=1700000030000,v=2", cmcd);
await call("reportEvents", 204, null, [{ e: "ps", sta: "p", ts: 1700000000000, v: 2 }]);
await call("reportEvents", 415, null, "x", { headers: { "Content-Type": "text/plain" } });

await call("steer", 200, { asset: "demo", session: one.session, from: "edge-1", _HLS_pathway: "edge-1", _HLS_throughput: 5000000 });
await call("steer", 400, { asset: "demo", from: "a b" });
await call("explainProblem", 200, { name: "sessions" });
await call("explainProblem", 404, { name: "nothing" });
await call("getTime", 200, { format: "ms" });
await call("getOpenAPI", 200);

for (const item of Object.values(document.paths)) {
  for (const o of Object.values(item)) if (o.operationId && !used[o.operationId]) failures.push(`${o.operationId} was never asked`);
}
console.log(JSON.stringify({ used, failures }, null, 1));

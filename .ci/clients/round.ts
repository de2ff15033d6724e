// One round with the generated types: what is archived, proved and checked is what was sent.
//
//   node round.js DATA_CHAIN BLOCK_MANAGER PROOF

import { writeFileSync } from "node:fs";
import createClient from "openapi-fetch";
import type { paths as BlockManager } from "./block_manager.js";
import type { paths as DataChain } from "./data_chain.js";

const [dataChain, blockManager, proof] = process.argv.slice(2);
if (dataChain === undefined || blockManager === undefined || proof === undefined) {
  throw new Error("round.js DATA_CHAIN BLOCK_MANAGER PROOF");
}
const data = createClient<DataChain>({ baseUrl: dataChain });
const manager = createClient<BlockManager>({ baseUrl: blockManager });

// The answer, or the sentence of the problem document.
function got<T>(reply: { data?: T; error?: { detail: string }; response: Response }): T {
  if (reply.data === undefined) {
    throw new Error(`${reply.response.status}: ${reply.error?.detail}`);
  }
  return reply.data;
}

const content = "what TypeScript sent";
const path = { session_id: "by-typescript" };
const begun = got(
  await data.POST("/api/v1/sessions", { body: { session_id: path.session_id, metadata: { by: "TypeScript" } } }),
);
if (begun.status !== "active" || begun.offset !== 0) throw new Error(JSON.stringify(begun));
const appended = got(
  await data.POST("/api/v1/sessions/{session_id}/append", {
    params: { path, header: { "Upload-Offset": 0 } },
    body: content,
    bodySerializer: (body) => body,
    headers: { "Content-Type": "application/octet-stream" },
  }),
);
if (appended.offset !== content.length) throw new Error(JSON.stringify(appended));
const sealed = got(await data.POST("/api/v1/sessions/{session_id}/seal", { params: { path } }));
const session = got(
  await data.GET("/api/v1/sessions/{session_id}", {
    params: { path, query: { wait: "30s", status: "anchored" } },
  }),
);
if (session.status !== "anchored" || session.merkle_root !== sealed.merkle_root) {
  throw new Error(JSON.stringify(session));
}
const anchor = got(await data.GET("/api/v1/sessions/{session_id}/anchor", { params: { path } }));
const index = String(anchor.block_index);
const block = got(await manager.GET("/api/v1/blocks/{index}", { params: { path: { index } } }));
const carried = block.transactions.map((transaction) => transaction.id);
if (block.hash !== anchor.block_hash || !carried.includes(anchor.transaction_id)) {
  throw new Error(JSON.stringify(block));
}
const part = await data.GET("/api/v1/sessions/{session_id}/data", {
  params: { path, header: { Range: "bytes=5-14" } },
  parseAs: "text",
});
if (part.response.status !== 206 || got(part) !== content.slice(5, 15)) throw new Error("a part");
const bundle = await data.GET("/api/v1/sessions/{session_id}/proof", {
  params: { path },
  parseAs: "arrayBuffer",
});
writeFileSync(proof, new Uint8Array(got(bundle)));
writeFileSync(proof.replace(/proof$/, "content"), content);
writeFileSync(proof.replace(/proof$/, "keys"), JSON.stringify([anchor.trust.block, anchor.trust.recorder]));
const missing = await data.GET("/api/v1/sessions/{session_id}", {
  params: { path: { session_id: "nobody" } },
});
if (missing.error?.code !== "not_found") throw new Error(JSON.stringify(missing.error));

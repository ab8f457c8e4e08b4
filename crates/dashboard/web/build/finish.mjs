// Compresses what was built, and holds it to its budget.
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const BUDGET_BYTES = 250_000;
const dist = new URL("../dist/", import.meta.url);

let script = 0;
for (const name of readdirSync(dist, { recursive: true })) {
  if (!/\.(js|css|svg|html)$/.test(name)) continue;
  const content = readFileSync(new URL(name, dist));
  const gzip = gzipSync(content, { level: 9 });
  writeFileSync(new URL(`${name}.gz`, dist), gzip);
  writeFileSync(new URL(`${name}.br`, dist), brotliCompressSync(content, { params: { [constants.BROTLI_PARAM_SIZE_HINT]: content.length } }));
  if (name.endsWith(".js")) script += gzip.length;
}
console.log(`script: ${script} bytes compressed by gzip, of ${BUDGET_BYTES}`);
if (script > BUDGET_BYTES) {
  console.error("That is too much for the first view; take out what is not needed, or load a page when it is opened.");
  process.exit(1);
}

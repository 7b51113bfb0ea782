// A small agent on the TypeScript SDK, run as a program: one prompt, one tool (Write), to its end.
// Reads its orders from stdin and writes what became of them to stdout, both JSON (see sdk.py).

import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const orders = JSON.parse(readFileSync(0, "utf8"));
const require = createRequire(pathToFileURL(orders.modules + "/"));
const { default: Anthropic } = await import(pathToFileURL(require.resolve("@anthropic-ai/sdk")));

const WRITE = {
  name: "Write",
  description: "Write a file.",
  input_schema: {
    type: "object",
    properties: { file_path: { type: "string" }, content: { type: "string" } },
    required: ["file_path", "content"],
  },
};

// The SDK's own `timeout` ends with the headers; in the body Node's fetch decides (300 s). Shorten that one too.
function dispatcher() {
  const key = Symbol.for("undici.globalDispatcher.1");
  fetch("data:,").catch(() => {}); // loads undici, which sets the symbol
  const Agent = globalThis[key].constructor;
  const milliseconds = orders.timeout_s * 1000;
  return new Agent({ bodyTimeout: milliseconds, headersTimeout: milliseconds });
}

const told = { text: "", tool_runs: 0, requests: 0, stop_reason: null, error: null };

async function converse() {
  const client = new Anthropic({
    baseURL: orders.base_url ?? undefined, // absent: ANTHROPIC_BASE_URL
    apiKey: orders.api_key ?? null,
    authToken: orders.auth_token ?? null,
    timeout: orders.timeout_s * 1000,
    maxRetries: orders.max_retries,
    fetchOptions: { dispatcher: dispatcher() },
  });
  const messages = [{ role: "user", content: orders.prompt }];
  while (told.requests < 8) {
    told.requests += 1;
    const ask = { model: "claude-sonnet-4-5", max_tokens: 4096, messages, tools: [WRITE] };
    const message = orders.streaming
      ? await client.messages.stream(ask).finalMessage()
      : await client.messages.create(ask);
    told.stop_reason = message.stop_reason;
    told.text = message.content.filter((b) => b.type === "text").map((b) => b.text).join("");
    const results = [];
    for (const block of message.content) {
      if (block.type !== "tool_use") continue;
      writeFileSync(block.input.file_path, block.input.content);
      told.tool_runs += 1;
      results.push({ type: "tool_result", tool_use_id: block.id, content: "written" });
    }
    if (results.length === 0) return;
    messages.push({ role: "assistant", content: message.content }, { role: "user", content: results });
  }
}

try {
  await converse();
} catch (error) {
  told.error = `${error.constructor.name}: ${error.message}${error.cause ? ` <- ${error.cause}` : ""}`;
}
process.stdout.write(JSON.stringify(told));

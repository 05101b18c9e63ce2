// Creates a request, waits for its answer, and cancels another one. It needs Node 18 or a browser.
//
//   node example.mjs https://node.example/pending TOKEN STORE MAILBOX

const [base, token, store, mailbox] = process.argv.slice(2);
const { crypto = (await import("node:crypto")).webcrypto } = globalThis; // Node 18 has no global one

// call sends a request, and again if its outcome is unknown. Every operation may be repeated.
async function call(method, path, query, body) {
  const url = `${base}${path}?${new URLSearchParams({ store, ...query })}`;
  const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/json" };
  for (let tries = 1; ; tries++) {
    try {
      const response = await fetch(url, { method, headers, body: body && JSON.stringify(body) });
      const answer = await response.json();
      if (response.ok) return answer;
      const again = response.status >= 500 || answer.code === "too_many";
      throw Object.assign(new Error(`${answer.code}: ${answer.error}`), { final: !again });
    } catch (error) {
      if (error.final || tries === 5) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 100 * 2 ** tries * Math.random()));
  }
}

// The key makes a repeat return the same request.
const create = (payload) =>
  call("POST", "/requests", { mailbox, key: crypto.randomUUID() }, { payload });

// wait returns a request when it has ended. Each call waits for up to 20 s.
async function wait(id) {
  for (;;) {
    const request = await call("GET", `/requests/${id}`, { wait: "20s" });
    if (request.status !== "pending" && request.status !== "running") return request;
  }
}

const cancel = (id, reason) => call("POST", `/requests/${id}/cancel`, {}, { reason });

const asked = await create({ folder: "/home" });
const answered = await wait(asked.id);
console.log(answered.status, JSON.stringify(answered.payload));

const unwanted = await create({ folder: "/tmp" });
await cancel(unwanted.id, "no longer needed");
const cancelled = await wait(unwanted.id);
console.log(cancelled.status, cancelled.error);

import {
  createIntegrationClient,
  EventsExpiredError,
  followEvents,
  ProblemError,
  verifyWebhook,
  WebhookVerificationError,
  type FeedQuery,
} from "docvault-client";
import { baseUrl, check, credential, customerId, given } from "../support";

const client = createIntegrationClient({ baseUrl, apiKey: credential });
const customer = { params: { path: { id: customerId } } };

function read(query: FeedQuery) {
  return client.GET("/v1/integration/events", { params: { query } });
}

/** Returns the types of the next events, and where to read on. */
async function next(after: string): Promise<{ types: string[]; after: string }> {
  for await (const page of followEvents(read, { after })) {
    if (page.items.length > 0 || after === "latest") {
      return { types: page.items.map((event) => event.type), after: page.next_after };
    }
  }
  throw new Error("the feed ended");
}

const start = await next("latest");
check(start.types.length === 0, "no event at the start");
const waiting = next(start.after);
await client.PUT("/v1/integration/customers/{id}", { ...customer, body: { name: "A. Bakker" } });
const created = await waiting;
check(created.types.includes("customer.created"), "an event that was waited for");
await client.PUT("/v1/integration/customers/{id}", { ...customer, body: { name: "A. Visser" } });
const updated = await next(created.after);
check(updated.types.join() === "customer.updated", "what came after the position");

const busy = Response.json(
  { code: "overloaded", detail: "Later." },
  { status: 503, headers: { "Retry-After": "2" } },
);
const failures: (() => Promise<Response>)[] = [
  () => Promise.resolve(busy),
  () => Promise.reject(new TypeError("fetch failed")),
];
const reasons: unknown[] = [];
const begun = Date.now();
const interrupted = followEvents(
  (query: FeedQuery) =>
    client.GET("/v1/integration/events", {
      params: { query },
      fetch: (request) => (failures.shift() ?? (() => fetch(request)))(),
    }),
  { after: created.after, onRetry: (reason) => reasons.push(reason) },
);
const repeated = await interrupted.next();
check(repeated.value?.items.length === 1, "the request is repeated");
check(Date.now() - begun >= 3900, "as late as the service has asked, then with a longer pause");
const [first, second] = reasons;
check(first instanceof ProblemError && first.problem?.code === "overloaded", "the first reason");
check(second instanceof TypeError, "the second reason");

async function refusal(after: string): Promise<unknown> {
  return followEvents(read, { after }).next().catch((error: unknown) => error);
}
const expired = await refusal(`${"0".repeat(32)}-1`);
check(expired instanceof EventsExpiredError, "a position of another log");
const invalid = await refusal("nothing");
check(invalid instanceof ProblemError && invalid.status === 400, "no position");

const abort = new AbortController();
for await (const _ of followEvents(read, { after: created.after, signal: abort.signal })) {
  abort.abort();
}

interface Case {
  name: string;
  body: string;
  headers: Record<string, string>;
  secret: string;
  valid: boolean;
}
for (const { name, body, headers, secret, valid } of JSON.parse(given("MESSAGES")) as Case[]) {
  for (const received of [headers, new Headers(headers)]) {
    const found = await verifyWebhook(body, received, secret).catch((error: unknown) => error);
    if (valid) {
      check(JSON.stringify(found) === body, name);
    } else {
      check(found instanceof WebhookVerificationError, name);
    }
  }
}
const message = await verifyWebhook(...signed());
if (message.type === "customer.updated") {
  check(message.data.changed?.join() === "email", "the type of a message tells its data");
}

function signed(): [Uint8Array, Record<string, string>, string] {
  const [{ body, headers, secret }] = JSON.parse(given("MESSAGES")) as [Case];
  return [new TextEncoder().encode(body), headers, secret];
}

import type { webhooks } from "./generated/admin.js";

/** The body of a webhook; `type` tells which. */
export type WebhookMessage =
  webhooks[keyof webhooks]["post"]["requestBody"]["content"]["application/json"];

/** Header fields, as `fetch` or Node.js have them. */
export type WebhookHeaders = Headers | Record<string, string | string[] | undefined>;

const TOLERANCE_SECONDS = 300;

interface Verifier {
  version: string;
  algorithm: string;
  key: CryptoKey;
}

/** The message was not sent by docvault, was changed, or is old. */
export class WebhookVerificationError extends Error {
  override name = "WebhookVerificationError";
}

/**
 * Returns the message of a webhook if its signature is valid (Standard Webhooks 1.0), and throws
 * {@link WebhookVerificationError} otherwise.
 *
 * `body` is the body as it was received, before anything parses it. `secret` is what docvault showed
 * when the webhook was created: `whsec_…`, or `whpk_…` with the signing `ed25519`.
 */
export async function verifyWebhook(
  body: string | Uint8Array,
  headers: WebhookHeaders,
  secret: string,
): Promise<WebhookMessage> {
  const verifier = await verifierOf(secret);
  const id = read(headers, "webhook-id");
  const timestamp = read(headers, "webhook-timestamp");
  const signatures = read(headers, "webhook-signature").split(" ");
  if (!/^\d{1,12}$/.test(timestamp)) {
    throw new WebhookVerificationError("The timestamp is malformed.");
  }
  if (Math.abs(Date.now() / 1000 - Number(timestamp)) > TOLERANCE_SECONDS) {
    throw new WebhookVerificationError("The message is older than five minutes, or a clock is wrong.");
  }
  const bytes = typeof body === "string" ? new TextEncoder().encode(body) : body;
  const signed = concatenate(new TextEncoder().encode(`${id}.${timestamp}.`), bytes);
  for (const signature of signatures) {
    if (await matches(signature, signed, verifier)) {
      return JSON.parse(new TextDecoder().decode(bytes)) as WebhookMessage;
    }
  }
  throw new WebhookVerificationError("No signature is valid.");
}

async function verifierOf(secret: string): Promise<Verifier> {
  const { subtle } = globalThis.crypto;
  if (secret.startsWith("whsec_")) {
    const hmac = { name: "HMAC", hash: "SHA-256" };
    const key = await subtle.importKey("raw", decode(secret.slice(6)), hmac, false, ["verify"]);
    return { version: "v1", algorithm: "HMAC", key };
  }
  if (secret.startsWith("whpk_")) {
    const bytes = decode(secret.slice(5));
    const key = await subtle.importKey("raw", bytes, "Ed25519", false, ["verify"]);
    return { version: "v1a", algorithm: "Ed25519", key };
  }
  throw new TypeError("The secret must begin with whsec_ or whpk_.");
}

function read(headers: WebhookHeaders, name: string): string {
  const value = headers instanceof Headers ? headers.get(name) : headers[name];
  if (typeof value !== "string" || value === "") {
    throw new WebhookVerificationError(`The header ${name} is missing.`);
  }
  return value;
}

async function matches(
  signature: string,
  signed: Uint8Array<ArrayBuffer>,
  { version, algorithm, key }: Verifier,
): Promise<boolean> {
  const prefix = `${version},`;
  if (!signature.startsWith(prefix)) {
    return false;
  }
  let bytes: Uint8Array<ArrayBuffer>;
  try {
    bytes = decode(signature.slice(prefix.length));
  } catch {
    return false;
  }
  return globalThis.crypto.subtle.verify(algorithm, key, bytes, signed);
}

function decode(base64: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

function concatenate(first: Uint8Array, second: Uint8Array): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(first.length + second.length);
  whole.set(first);
  whole.set(second, first.length);
  return whole;
}

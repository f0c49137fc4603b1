import createClient, { defaultBodySerializer, type Client } from "openapi-fetch";
import type { paths as AdminPaths } from "./generated/admin.js";
import type { paths as CustomerPaths } from "./generated/customer.js";
import type { paths as IntegrationPaths } from "./generated/integration.js";

export type AdminClient = Client<AdminPaths>;
export type CustomerClient = Client<CustomerPaths>;
export type IntegrationClient = Client<IntegrationPaths>;

export interface TokenOptions {
  /** Where docvault is, such as `https://portal.example.org`. */
  baseUrl: string;
  /** Returns an access token; called before each request. */
  token: () => string | Promise<string>;
}

export interface KeyOptions {
  /** Where docvault is, such as `https://docvault.example.org`. */
  baseUrl: string;
  apiKey: string;
}

/** Creates a client of the admin API, for staff. */
export function createAdminClient(options: TokenOptions): AdminClient {
  return withToken<AdminPaths>(options);
}

/** Creates a client of the customer API, for a customer's portal. */
export function createCustomerClient(options: TokenOptions): CustomerClient {
  return withToken<CustomerPaths>(options);
}

/** Creates a client of the integration API, for another system. */
export function createIntegrationClient({ baseUrl, apiKey }: KeyOptions): IntegrationClient {
  return createClient<IntegrationPaths>({
    baseUrl,
    bodySerializer: serializeBody,
    headers: { "X-API-Key": apiKey },
  });
}

function withToken<Paths extends object>({ baseUrl, token }: TokenOptions): Client<Paths> {
  const client = createClient<Paths>({ baseUrl, bodySerializer: serializeBody });
  client.use({
    async onRequest({ request }) {
      request.headers.set("Authorization", `Bearer ${await token()}`);
    },
  });
  return client;
}

/** Writes bodies with files as forms: files as bytes, everything else as JSON. */
function serializeBody(body: object | undefined): FormData | string {
  const parts = Object.entries(body ?? {});
  // A batch of documents is a form, with files or without.
  const isForm = parts.some(([name, value]) => name === "batch" || filesIn(value).length > 0);
  if (!isForm) {
    return defaultBodySerializer(body);
  }
  const form = new FormData();
  for (const [name, value] of parts) {
    const files = filesIn(value);
    files.forEach((file) => form.append(name, file));
    if (files.length === 0 && value !== undefined) {
      form.append(name, JSON.stringify(value));
    }
  }
  return form;
}

function filesIn(value: unknown): Blob[] {
  return Array.isArray(value) ? value.filter((item) => item instanceof Blob) : [];
}

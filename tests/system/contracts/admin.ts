// A front end for staff: document types, progress of customers, audit trail.
//
// The compiler must reject each line after `@ts-expect-error` with that code.
import createClient from "openapi-fetch";
import { exhausted, multipart } from "./support";
import type { components, operations, paths } from "./types/admin";

type Customer = components["schemas"]["CustomerRead"];
type DocumentType = components["schemas"]["DocumentTypeRead"];
type Filters = NonNullable<operations["admin_list_customers"]["parameters"]["query"]>;
type Schemas = components["schemas"];
type Problem = Schemas[Extract<keyof Schemas, `${string}Problem`>];
type Responses<Id extends keyof operations> = operations[Id]["responses"];

const client = createClient<paths>({
  baseUrl: "https://docvault.example",
  headers: { Authorization: "Bearer token" },
});

export async function blockedCustomers(): Promise<Customer[]> {
  const filters: Filters = {
    has_documents: false,
    uploaded: ["identity-card"],
    not_uploaded: ["contract", "driving-licence"],
    gate: "blocked",
    q: "bak",
    sort: "-created_at",
  };
  const found: Customer[] = [];
  for await (const page of pages(filters)) {
    found.push(...page.items);
    // @ts-expect-error TS18048 only with include_total
    console.log(page.total.toFixed());
  }
  return found;
}

async function* pages(filters: Filters) {
  let next: string | null = null;
  do {
    const query: Filters = next === null ? filters : { ...filters, cursor: next };
    const { data, error } = await client.GET("/v1/admin/customers", { params: { query } });
    if (error) {
      throw new Error(explain(error));
    }
    yield data;
    next = data.next_cursor;
  } while (next !== null);
}

export const wrongFilters: Filters[] = [
  { limit: 50, include_total: true },
  // @ts-expect-error TS2322 not a decision
  { gate: "closed" },
  // @ts-expect-error TS2322 not an order
  { sort: "email" },
  // @ts-expect-error TS2322 a list
  { uploaded: "identity-card" },
  // @ts-expect-error TS2322 no null in queries: the first page is requested without a cursor
  { cursor: null },
  // @ts-expect-error TS2353 no such filter
  { state: "uploaded" },
];

export function nameOf(customer: Customer): string {
  // @ts-expect-error TS2322 the host may not have sent it
  const name: string = customer.name;
  return customer.name ?? customer.email ?? `${customer.id} ${name} ${customer.tags.join()}`;
}

export async function createTypes(): Promise<DocumentType | undefined> {
  await client.POST("/v1/admin/document-types", { body: { name: "Identity card" } });
  const licence: components["schemas"]["DocumentTypeCreate"] = {
    name: "Driving licence",
    key: "driving-licence",
    upload_mode: "required",
    collects_fields: true,
    fields: [{ label: "Date of issue" }, { label: "Number", required: true }],
    instructions: null,
    accepted_media_types: ["image/jpeg", "application/pdf"],
    max_size_bytes: 5 * 2 ** 20,
    max_files: 2,
  };
  const { data, error, response } = await client.POST("/v1/admin/document-types", {
    params: { header: { "Idempotency-Key": crypto.randomUUID() } },
    body: licence,
  });
  if (error?.code === "name-conflict" || error?.code === "key-conflict") {
    return undefined;
  }
  console.log(response.headers.get("Location"), data?.fields[0]?.key);
  return data;
}

export const wrongTypes: components["schemas"]["DocumentTypeCreate"][] = [
  { name: "Reference", upload_mode: "required" },
  // @ts-expect-error TS2322 the codes of older systems have no type
  { name: "Reference", upload_mode: 1 },
  // @ts-expect-error TS2741 a name is required
  { key: "identity-card" },
  // @ts-expect-error TS2322 not a mode
  { name: "Identity card", upload_mode: "mandatory" },
  // @ts-expect-error TS2353 no such property
  { name: "Identity card", colour: "red" },
  // @ts-expect-error TS2322 every field is text
  { name: "Identity card", collects_fields: true, fields: [{ label: "Born", kind: "date" }] },
];

export async function changeSettings(): Promise<string> {
  const { data, response } = await client.GET("/v1/admin/settings/portal");
  const tag = response.headers.get("ETag");
  if (!data || tag === null) {
    return "";
  }
  const header = { "If-Match": tag };
  await client.PATCH("/v1/admin/settings/portal", {
    params: { header },
    body: { gate_enabled: !data.gate_enabled },
  });
  await client.PATCH("/v1/admin/settings/portal", {
    params: { header },
    body: { introduction: null },
  });
  // @ts-expect-error TS2345 the change must be conditional
  await client.PATCH("/v1/admin/settings/portal", { body: { gate_enabled: true } });
  await client.PATCH("/v1/admin/settings/portal", {
    params: { header },
    // @ts-expect-error TS2353 the HTML is rendered by docvault
    body: { introduction: { format: "markdown", html: "<p>Welcome</p>" } },
  });
  // @ts-expect-error TS18047 there may be no introduction
  return data.introduction.html;
}

export async function changeType(key: string, tag: string): Promise<string> {
  const params = { path: { key }, header: { "If-Match": tag } };
  const changed = await client.PATCH("/v1/admin/document-types/{key}", {
    params,
    body: { archived: true },
  });
  await client.PATCH("/v1/admin/document-types/{key}", { params, body: { upload_mode: null } });
  await client.PUT("/v1/admin/document-type-order", { body: { keys: ["identity-card"] } });
  const deleted = await client.DELETE("/v1/admin/document-types/{key}", { params });
  const nothing: undefined = deleted.data;
  return `${changed.data?.updated_at} ${nothing} ${deleted.error?.code}`;
}

export const typeChanges: components["schemas"]["DocumentTypeUpdate"][] = [
  {},
  { name: "Passport", instructions: null, max_size_bytes: null },
  // @ts-expect-error TS2353 a key never changes
  { key: "passport" },
  // @ts-expect-error TS2322 a type always has a name
  { name: null },
];

export async function apiKeys(): Promise<string> {
  const { data } = await client.POST("/v1/admin/api-keys", {
    body: { name: "CRM", scopes: ["customers:read", "documents:read"], expires_at: null },
  });
  const read = await client.GET("/v1/admin/api-keys/{id}", {
    params: { path: { id: data?.id ?? "" } },
  });
  await client.PATCH("/v1/admin/api-keys/{id}", {
    params: { path: { id: data?.id ?? "" } },
    body: { name: "CRM (new)" },
  });
  // @ts-expect-error TS2322 no such scope
  const scopes: components["schemas"]["Scope"][] = ["documents:everything"];
  // @ts-expect-error TS2339 shown only on creation
  const secret = read.data?.key;
  // @ts-expect-error TS2322 it may never have been used
  const used: string | undefined = read.data?.last_used_at;
  return data?.key ?? `${secret} ${used} ${scopes.join()}`;
}

export async function upload(id: string, key: string, files: Blob[]): Promise<string> {
  const path = { id, key };
  const { data, error } = await client.PUT("/v1/admin/customers/{id}/documents/{key}", {
    params: { path, header: { "Idempotency-Key": crypto.randomUUID() } },
    body: { file: files, field_values: { "date-of-issue": "2024-05-02" } },
    bodySerializer: multipart,
  });
  if (error) {
    return explain(error);
  }
  const by: string = data.uploaded_by?.id ?? "nobody";
  const copy = await client.POST("/v1/admin/customers/{id}/documents/{key}/copy", {
    params: { path: { id, key: "other-card" } },
    body: { from: { key, version: data.version, file: 1 } },
  });
  // @ts-expect-error TS2345 the body names the source
  await client.POST("/v1/admin/customers/{id}/documents/{key}/copy", { params: { path } });
  return `${by} ${copy.data?.version}`;
}

export async function versions(id: string, key: string): Promise<string[]> {
  const path = { id, key };
  const { data } = await client.GET("/v1/admin/customers/{id}/documents/{key}/versions", {
    params: { path },
  });
  const current = data?.items.find((version) => version.is_current);
  await client.GET("/v1/admin/customers/{id}/documents/{key}/content", {
    params: { path, query: { version: current?.version ?? 1, file: 1, disposition: "inline" } },
    parseAs: "blob",
  });
  return data?.items.map((v) => `${v.uploaded_at} ${v.uploaded_by.id} ${v.files.length}`) ?? [];
}

export async function overview(id: string): Promise<string[]> {
  const { data } = await client.GET("/v1/admin/customers/{id}/summary", {
    params: { path: { id } },
  });
  return (data?.documents ?? []).map((document) => {
    // @ts-expect-error TS2322 nothing may have been uploaded
    const time: string = document.uploaded_at;
    switch (document.upload_state) {
      case "uploaded":
        return `${document.type.name}: ${time}`;
      case "missing":
        return `${document.type.name}: missing, ${document.type.upload_mode}`;
      default:
        return exhausted(document.upload_state);
    }
  });
}

export async function trail(customer: string): Promise<string[]> {
  const { data } = await client.GET("/v1/admin/audit-events", {
    params: { query: { customer, action: "document.upload", since: "2026-11-24T00:00:00Z" } },
  });
  await client.GET("/v1/admin/audit-events", {
    // @ts-expect-error TS2322 no such action
    params: { query: { action: "document.burn" } },
  });
  return (data?.items ?? []).map((event) => {
    // @ts-expect-error TS18047 removed by an erasure
    const change = event.changes.field_values;
    // @ts-expect-error TS18046 changed values have any type
    const old = change.old;
    // @ts-expect-error TS2367 not a result
    const failed = event.result === "failed";
    return `${event.actor.kind} ${event.action} ${event.result} ${old} ${failed}`;
  });
}

export async function erase(id: string): Promise<string> {
  const { data, error, response } = await client.DELETE("/v1/admin/customers/{id}", {
    params: { path: { id } },
  });
  if (error) {
    return explain(error);
  }
  const nothing: undefined = data;
  const erasure = response.headers.get("Location")?.split("/").at(-1) ?? "";
  const watched = await client.GET("/v1/admin/erasures/{id}", {
    params: { path: { id: erasure } },
  });
  return watched.data ? progress(watched.data) : `unknown ${nothing}`;
}

function progress(erasure: components["schemas"]["ErasureRead"]): string {
  switch (erasure.state) {
    case "pending":
      return `${erasure.counts.blobs_pending} files to go`;
    case "completed":
      // @ts-expect-error TS2322 null while pending
      return erasure.completed_at;
    default:
      return exhausted(erasure.state);
  }
}

/** Documented headers have a type, others are `unknown`. */
export function tagOf(
  response:
    | Responses<"admin_read_api_key">[200 | 304]
    | Responses<"admin_create_customer">[201]
    | Responses<"admin_read_customer">[200 | 304]
    | Responses<"admin_put_customer">[200 | 201]
    | Responses<"admin_read_document">[200 | 304]
    | Responses<"admin_upload_document">[200 | 201]
    | Responses<"admin_copy_document">[200 | 201]
    | Responses<"admin_create_document_type">[201]
    | Responses<"admin_read_document_type">[200 | 304]
    | Responses<"admin_read_portal_settings">[200 | 304],
): string | undefined {
  return response.headers.ETag;
}

export function tagOfKey(response: Responses<"admin_create_api_key">[201]): string | undefined {
  // @ts-expect-error TS2322 a response with a secret has no tag
  return response.headers.ETag;
}

export function placeOf(
  response:
    | Responses<"admin_create_api_key">[201]
    | Responses<"admin_create_customer">[201]
    | Responses<"admin_create_document_type">[201]
    | Responses<"admin_delete_customer">[202],
): string | undefined {
  return response.headers.Location;
}

export function explain(problem: Problem): string {
  switch (problem.code) {
    case "validation-error":
      return problem.errors.map((e) => `${e.pointer ?? e.parameter ?? "?"}: ${e.detail}`).join();
    case "precondition-failed":
      return "changed by another user";
    default:
      return `${problem.detail} (${problem.instance})`;
  }
}

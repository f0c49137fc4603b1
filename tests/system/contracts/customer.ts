// A front end in the customer's portal: requested, uploaded and due documents.
//
// The compiler must reject each line after `@ts-expect-error` with that code.
import createClient from "openapi-fetch";
import { exhausted, multipart } from "./support";
import type { components, operations, paths } from "./types/customer";

type Document = components["schemas"]["DocumentRead"];
type Schemas = components["schemas"];
type Problem = Schemas[Extract<keyof Schemas, `${string}Problem`>];
type Responses<Id extends keyof operations> = operations[Id]["responses"];

const client = createClient<paths>({
  baseUrl: "https://docvault.example",
  headers: { Authorization: "Bearer token" },
});

export async function mayEnter(): Promise<boolean> {
  const { data, error } = await client.GET("/v1/customer/gate");
  if (error) {
    throw new Error(explain(error));
  }
  switch (data.decision) {
    case "open":
      return true;
    case "blocked":
      return false;
    // @ts-expect-error TS2678 not a decision
    case "closed":
      return false;
    default:
      return exhausted(data.decision);
  }
}

export async function introduction(): Promise<string> {
  const { data, error } = await client.GET("/v1/customer/portal");
  if (error || !data.section_enabled) {
    return "";
  }
  const due: string[] = data.gate.missing;
  // @ts-expect-error TS18047 there may be no introduction
  const html: string = data.introduction.html;
  return data.introduction?.html ?? `${html} ${due.join(", ")} ${data.documents.required_missing}`;
}

export async function allDocuments(): Promise<Document[]> {
  const documents: Document[] = [];
  let cursor: string | null = null;
  do {
    const { data, error }: Awaited<ReturnType<typeof page>> = await page(cursor);
    if (error) {
      throw new Error(explain(error));
    }
    documents.push(...data.items);
    cursor = data.next_cursor;
  } while (cursor !== null);
  return documents;
}

function page(cursor: string | null) {
  return client.GET("/v1/customer/documents", {
    params: { query: { limit: 200, include_total: true, ...(cursor === null ? {} : { cursor }) } },
  });
}

export function lineOf(document: Document): string {
  // @ts-expect-error TS2345 nothing may have been uploaded
  const wrong = sentOn(document.uploaded_at);
  const when = document.uploaded_at === null ? "never" : sentOn(document.uploaded_at);
  // @ts-expect-error TS18047 nobody may have uploaded
  const who = document.uploaded_by.kind;
  // @ts-expect-error TS2339 customers do not see which member of staff it was
  const person = document.uploaded_by?.id;
  // @ts-expect-error TS2532 there may be no file
  const first = document.files[0].filename;
  // @ts-expect-error TS2322 a field may have no value
  const value: string = document.field_values["date-of-issue"];
  return [document.type.name, when, wrong, who, person, first, value, hint(document)].join();
}

function sentOn(time: string): string {
  return new Date(time).toLocaleDateString();
}

function hint(document: Document): string {
  // @ts-expect-error TS2367 not a state
  if (document.upload_state === "rejected") {
    return "";
  }
  switch (document.status) {
    case "missing":
      return modeHint(document.type.upload_mode);
    case "incomplete":
      return document.type.fields.filter((field) => field.required).map((f) => f.label).join();
    case "accepted":
      return document.files.map((file) => `${file.number}: ${scanHint(file.scan)}`).join();
    default:
      return exhausted(document.status);
  }
}

function modeHint(mode: components["schemas"]["UploadMode"]): string {
  switch (mode) {
    case "required":
      return "please upload";
    case "optional":
      return "you may upload";
    case "admin_only":
      return "we upload this for you";
    default:
      return exhausted(mode);
  }
}

function scanHint(scan: components["schemas"]["FileRead"]["scan"]): string {
  switch (scan) {
    case "clean":
    case "not_configured":
      return "fine";
    case "infected":
    case "error":
      return "please send it again";
    default:
      return exhausted(scan);
  }
}

export async function upload(key: string, file: File, values: Record<string, string | null>) {
  const { data, error, response } = await client.PUT("/v1/customer/documents/{key}", {
    params: {
      path: { key },
      header: { "Idempotency-Key": crypto.randomUUID(), "If-None-Match": "*" },
    },
    body: { file: [file], field_values: values },
    bodySerializer: multipart,
  });
  if (error) {
    return explain(error);
  }
  const created = response.status === 201;
  return `${created ? "sent" : "sent again"}: version ${data.version}`;
}

export async function uploadWrongly(key: string, file: File): Promise<void> {
  const { PUT } = client;
  const params = { path: { key } };
  await PUT("/v1/customer/documents/{key}", { params, body: { file: [file] } });
  // @ts-expect-error TS2322 a file is bytes
  await PUT("/v1/customer/documents/{key}", { params, body: { file: ["licence.jpg"] } });
  // @ts-expect-error TS2322 a file is required
  await PUT("/v1/customer/documents/{key}", { params, body: { field_values: {} } });
  const field_values = { number: 1 };
  // @ts-expect-error TS2322 values are text
  await PUT("/v1/customer/documents/{key}", { params, body: { file: [file], field_values } });
  // @ts-expect-error TS2741 a document is required
  await PUT("/v1/customer/documents/{key}", { params: { path: {} }, body: { file: [file] } });
  // @ts-expect-error TS2345 only staff see versions
  await client.GET("/v1/customer/documents/{key}/versions", { params });
}

export async function saveAll(front: File, back: File): Promise<string[]> {
  const items: components["schemas"]["DocumentBatchItem"][] = [
    { key: "identity-card", files: [0, 1] },
    { key: "references", field_values: { name: "A. Bakker", phone: null } },
  ];
  const { data, error } = await client.POST("/v1/customer/document-batches", {
    body: { batch: { items }, files: [front, back] },
    bodySerializer: multipart,
  });
  if (error) {
    return [explain(error)];
  }
  return data.items.map((item) => {
    // @ts-expect-error TS18047 it may have been rejected
    const version = item.document.version;
    return item.problem ? explain(item.problem) : `${item.key}: ${item.status} ${version}`;
  });
}

export async function correct(key: string, tag: string): Promise<void> {
  const path = { key };
  await client.PATCH("/v1/customer/documents/{key}", {
    params: { path, header: { "If-Match": tag } },
    body: { field_values: { "date-of-issue": "2024-05-02", number: null } },
  });
  await client.PATCH("/v1/customer/documents/{key}", { params: { path }, body: {} });
  const deleted = await client.DELETE("/v1/customer/documents/{key}", { params: { path } });
  const nothing: undefined = deleted.data;
  if (nothing === undefined && deleted.error?.code === "delete-not-allowed") {
    throw new Error(explain(deleted.error));
  }
}

export async function show(key: string): Promise<string> {
  const path = { key };
  const small = await client.GET("/v1/customer/documents/{key}/preview", {
    params: { path, query: { size: "small", file: 2 } },
    parseAs: "blob",
  });
  const whole = await client.GET("/v1/customer/documents/{key}/content", {
    params: { path, query: { disposition: "inline" } },
    parseAs: "stream",
  });
  await client.GET("/v1/customer/documents/{key}/preview", {
    // @ts-expect-error TS2322 not a size
    params: { path, query: { size: "huge" } },
  });
  await client.GET("/v1/customer/documents/{key}/content", {
    // @ts-expect-error TS2353 customers do not see earlier versions
    params: { path, query: { version: 1 } },
  });
  return small.data ? URL.createObjectURL(small.data) : String(whole.data?.locked);
}

/** Documented headers have a type, others are `unknown`. */
export function tagOf(
  response:
    | Responses<"customer_read_document">[200 | 304]
    | Responses<"customer_upload_document">[200 | 201]
    | Responses<"customer_update_document">[200]
    | Responses<"customer_read_content">[200 | 206 | 304]
    | Responses<"customer_read_preview">[200 | 304],
): string | undefined {
  return response.headers.ETag;
}

export function tagOfNothing(
  response: Responses<"customer_delete_document">[204],
): string | undefined {
  // @ts-expect-error TS2322 a deleted document has no tag
  return response.headers.ETag;
}

export function explain(problem: Problem): string {
  switch (problem.code) {
    case "validation-error":
      return problem.errors.map((e) => `${e.pointer ?? e.parameter ?? "?"}: ${e.detail}`).join();
    case "file-too-large":
      return `at most ${mebibytes(problem.limit_bytes)} MiB`;
    case "unsupported-media-type":
      return `${problem.detected?.toUpperCase() ?? "this"} is none of ${problem.allowed.join()}`;
    case "portal-section-disabled":
    case "admin-only-document":
      return problem.title;
    default:
      return `${problem.detail} (${problem.status}, ${problem.instance})`;
  }
}

function mebibytes(bytes: number): number {
  return bytes / 2 ** 20;
}

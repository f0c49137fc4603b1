// A third-party system: registers customers, exchanges documents, queries the gate.
//
// The compiler must reject each line after `@ts-expect-error` with that code.
import createClient from "openapi-fetch";
import { exhausted, multipart } from "./support";
import type { components, operations, paths } from "./types/integration";

type Customer = components["schemas"]["CustomerRead"];
type CustomerPut = components["schemas"]["CustomerPut"];
type Document = components["schemas"]["DocumentRead"];
type Schemas = components["schemas"];
type Problem = Schemas[Extract<keyof Schemas, `${string}Problem`>];
type Responses<Id extends keyof operations> = operations[Id]["responses"];

const client = createClient<paths>({
  baseUrl: "https://docvault.example",
  headers: { "X-API-Key": "dv_live_secret" },
});

export async function register(id: string, data: CustomerPut): Promise<Customer> {
  const response = await client.PUT("/v1/integration/customers/{id}", {
    params: { path: { id }, header: { "If-None-Match": "*" } },
    body: data,
  });
  if (response.error) {
    throw new Error(explain(response.error));
  }
  return response.data;
}

export const registeredCustomers: CustomerPut[] = [
  {},
  { name: "A. Bakker", email: "a.bakker@example.org", tags: ["wholesale"] },
  { name: null, email: null },
  // @ts-expect-error TS2322 absent tags are an empty list
  { name: "A. Bakker", tags: null },
  // @ts-expect-error TS2353 the id is in the path
  { id: "c-1042" },
];

export async function change(id: string): Promise<void> {
  const params = { path: { id } };
  await client.PATCH("/v1/integration/customers/{id}", { params, body: { email: null } });
  await client.PATCH("/v1/integration/customers/{id}", { params, body: { tags: null } });
  // @ts-expect-error TS2322 a text
  await client.PATCH("/v1/integration/customers/{id}", { params, body: { name: 7 } });
  await client.GET("/v1/integration/customers", {
    // @ts-expect-error TS2322 not an order
    params: { query: { sort: "email" } },
  });
}

export async function tellAll(): Promise<string[]> {
  const { data, error } = await client.POST("/v1/integration/customer-batches", {
    params: { header: { "Idempotency-Key": "import-2026-11-24" } },
    body: { items: [{ id: "c-1042", name: "A. Bakker" }, { id: "c-1043" }] },
  });
  // @ts-expect-error TS2741 a name is required
  const nameless: components["schemas"]["CustomerBatch"]["items"] = [{ name: "A. Bakker" }];
  if (error) {
    return [explain(error), `${nameless.length}`];
  }
  return data.items.map((item) => {
    // @ts-expect-error TS18047 most items have none
    const code = item.problem.code;
    return item.problem ? `${item.id}: ${explain(item.problem)}` : `${item.status} ${code}`;
  });
}

export async function documentsOf(id: string): Promise<Map<string, Document>> {
  const { data, error } = await client.GET("/v1/integration/customers/{id}/documents", {
    params: { path: { id }, query: { limit: 200 } },
  });
  if (error?.code === "customer-not-found" || !data) {
    return new Map();
  }
  return new Map(data.items.map((document) => [document.type.key, document]));
}

export function newest(documents: Document[]): number {
  const times = documents.flatMap(({ uploaded_at: time }) => (time === null ? [] : [time]));
  // @ts-expect-error TS2345 nothing may have been uploaded
  const wrong = documents.map((document) => Date.parse(document.uploaded_at));
  return Math.max(...times.map(Date.parse), ...wrong);
}

export async function uploadAsSystem(id: string, key: string, file: Blob): Promise<number> {
  const path = { id, key };
  const { data, error, response } = await client.PUT(
    "/v1/integration/customers/{id}/documents/{key}",
    {
      params: { path, header: { "Idempotency-Key": crypto.randomUUID() } },
      body: { file: [file], field_values: { "date-of-issue": "2024-05-02", number: null } },
      bodySerializer: multipart,
    },
  );
  if (error) {
    throw new Error(explain(error));
  }
  // @ts-expect-error TS2740 a list of files
  const body: components["schemas"]["DocumentUpload"] = { file };
  const kind: "admin" | "customer" | "integration" = data.uploaded_by?.kind ?? "integration";
  console.log(response.status, kind, body, data.files[0]?.sha256);
  return data.version;
}

export async function fetchFile(id: string, key: string): Promise<ArrayBuffer | undefined> {
  const path = { id, key };
  const { data, response } = await client.GET(
    "/v1/integration/customers/{id}/documents/{key}/content",
    {
      params: {
        path,
        query: { file: 1 },
        header: { "If-None-Match": '"9f86"', Range: "bytes=0-" },
      },
      parseAs: "arrayBuffer",
    },
  );
  return response.status === 304 ? undefined : data;
}

export async function mayEnter(id: string): Promise<boolean> {
  const { data, error } = await client.GET("/v1/integration/customers/{id}/gate", {
    params: { path: { id } },
  });
  if (error) {
    return false;
  }
  switch (data.decision) {
    case "open":
      return true;
    case "blocked":
      console.log(data.missing.join(), data.enforced, Date.parse(data.evaluated_at));
      return false;
    default:
      return exhausted(data.decision);
  }
}

export async function forget(id: string): Promise<boolean> {
  const { data, error, response } = await client.DELETE("/v1/integration/customers/{id}", {
    params: { path: { id } },
  });
  if (error) {
    throw new Error(explain(error));
  }
  const nothing: undefined = data;
  const erasure = response.headers.get("Location")?.split("/").at(-1) ?? "";
  const { data: watched } = await client.GET("/v1/integration/erasures/{id}", {
    params: { path: { id: erasure } },
  });
  // @ts-expect-error TS2367 not a state
  const failed = watched?.state === "failed";
  return watched?.state === "completed" && !failed && nothing === undefined;
}

export async function askedNow(): Promise<string[]> {
  const { data } = await client.GET("/v1/integration/document-types");
  const types = data?.items ?? [];
  // @ts-expect-error TS2367 responses have the names and not the old codes
  const old = types.filter((type) => type.upload_mode === 1);
  return [...old, ...types.filter((type) => type.upload_mode === "required")].map((t) => t.key);
}

/** Documented headers have a type, others are `unknown`. */
export function tagOf(
  response:
    | Responses<"integration_read_customer">[200 | 304]
    | Responses<"integration_put_customer">[200 | 201]
    | Responses<"integration_update_customer">[200]
    | Responses<"integration_read_document">[200 | 304]
    | Responses<"integration_upload_document">[200 | 201]
    | Responses<"integration_read_content">[200 | 206 | 304]
    | Responses<"integration_read_erasure">[200 | 304],
): string | undefined {
  return response.headers.ETag;
}

export function placeOf(
  response: Responses<"integration_delete_customer">[202],
): string | undefined {
  return response.headers.Location;
}

export function explain(problem: Problem): string {
  switch (problem.code) {
    case "insufficient-scope":
      return `give the key more scopes: ${problem.detail}`;
    case "file-too-large":
      return `more than ${problem.limit_bytes?.toFixed() ?? "?"} bytes`;
    case "unsupported-media-type":
      return `one of ${problem.allowed.join() ?? "?"}`;
    case "validation-error":
      return problem.errors.map((error) => `${error.code} at ${error.pointer}`).join();
    default:
      return `${problem.title} (${problem.type})`;
  }
}

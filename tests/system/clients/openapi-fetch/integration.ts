import { createIntegrationClient } from "docvault-client";
import { baseUrl, check, checkSame, credential, customerId, html, photo, values } from "../support";

const client = createIntegrationClient({ baseUrl, apiKey: credential });
const card = { path: { id: customerId, key: "card" } };

const batch = await client.POST("/v1/integration/customer-batches", {
  body: { items: [{ id: customerId, name: "A. Bakker" }, { id: `${customerId}-b` }] },
});
check(batch.data?.items.every((item) => item.problem === null), "customers are registered");

const sent = await client.PUT("/v1/integration/customers/{id}/documents/{key}", {
  params: card,
  body: { file: [photo], field_values: values },
});
check(sent.data?.field_values["date-of-issue"] === "2024-05-02", "values are stored");

const refused = await client.PUT("/v1/integration/customers/{id}/documents/{key}", {
  params: card,
  body: { file: [html] },
});
check(refused.error?.code === "unsupported-media-type", "a page is refused");
check(refused.error.allowed.includes("image/jpeg"), "accepted types are listed");

const found: string[] = [];
let cursor: string | null = null;
do {
  const { data, error }: Awaited<ReturnType<typeof page>> = await page(cursor);
  check(!error, "a page");
  found.push(...data.items.map((document) => document.type.key));
  cursor = data.next_cursor;
} while (cursor !== null);
check(found.includes("card") && found.includes("letter"), "every page is read");

function page(cursor: string | null) {
  return client.GET("/v1/integration/customers/{id}/documents", {
    params: {
      path: { id: customerId },
      query: { limit: 1, ...(cursor === null ? {} : { cursor }) },
    },
  });
}

const content = await client.GET("/v1/integration/customers/{id}/documents/{key}/content", {
  params: card,
  parseAs: "blob",
});
check(content.data, "a file");
await checkSame(content.data, photo);

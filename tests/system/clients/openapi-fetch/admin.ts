import { createAdminClient } from "docvault-client";
import {
  baseUrl, check, checkPicture, checkSame, credential, customerId, html, photo, values,
} from "../support";

const client = createAdminClient({ baseUrl, token: () => credential });
const card = { path: { id: customerId, key: "card" } };

const conflict = await client.POST("/v1/admin/document-types", {
  body: { name: "Another card", key: "card" },
});
check(conflict.error?.code === "key-conflict", "a key is unique");

for (const id of [customerId, `${customerId}-b`]) {
  const { data } = await client.PUT("/v1/admin/customers/{id}", {
    params: { path: { id } },
    body: { name: "A. Bakker", tags: ["wholesale"] },
  });
  check(data?.id === id, "a customer is registered");
}

const found: string[] = [];
let cursor: string | null = null;
do {
  const { data, error }: Awaited<ReturnType<typeof page>> = await page(cursor);
  check(!error, "a page");
  found.push(...data.items.map((customer) => customer.id));
  cursor = data.next_cursor;
} while (cursor !== null);
check(found.includes(customerId) && found.includes(`${customerId}-b`), "every page is read");

function page(cursor: string | null) {
  return client.GET("/v1/admin/customers", {
    params: { query: { limit: 1, sort: "-created_at", ...(cursor === null ? {} : { cursor }) } },
  });
}

const sent = await client.PUT("/v1/admin/customers/{id}/documents/{key}", {
  params: card,
  body: { file: [photo], field_values: values },
});
check(sent.data?.field_values["date-of-issue"] === "2024-05-02", "values are stored");

const refused = await client.PUT("/v1/admin/customers/{id}/documents/{key}", {
  params: card,
  body: { file: [html] },
});
check(refused.error?.code === "unsupported-media-type", "a page is refused");
check(refused.error.allowed.includes("image/jpeg"), "accepted types are listed");

const content = await client.GET("/v1/admin/customers/{id}/documents/{key}/content", {
  params: card,
  parseAs: "blob",
});
check(content.data, "a file");
await checkSame(content.data, photo);

const preview = await client.GET("/v1/admin/customers/{id}/documents/{key}/preview", {
  params: card,
  parseAs: "blob",
});
check(preview.data, "a preview");
await checkPicture(preview.data);

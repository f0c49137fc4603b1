import { createCustomerClient } from "docvault-client";
import {
  baseUrl, check, checkPicture, checkSame, credential, html, letter, photo, values,
} from "../support";

const client = createCustomerClient({ baseUrl, token: () => credential });
const card = { path: { key: "card" } };

const sent = await client.PUT("/v1/customer/documents/{key}", {
  params: { ...card, header: { "Idempotency-Key": crypto.randomUUID() } },
  body: { file: [photo], field_values: values },
});
check(sent.data?.field_values["date-of-issue"] === "2024-05-02", "values are stored");

const refused = await client.PUT("/v1/customer/documents/{key}", {
  params: card,
  body: { file: [html] },
});
check(refused.error?.code === "unsupported-media-type", "a page is refused");
check(refused.error.allowed.includes("image/jpeg"), "accepted types are listed");

const batch = await client.POST("/v1/customer/document-batches", {
  body: {
    batch: {
      items: [
        { key: "card", files: [0], field_values: values },
        { key: "letter", files: [1] },
        { key: "lost", files: [2] },
      ],
    },
    files: [photo, letter, photo],
  },
});
const [first, second, third] = batch.data?.items ?? [];
check(first?.document?.files[0]?.filename === "photo.jpg", "the first file is the card");
check(second?.document?.files[0]?.filename === "letter.txt", "the second file is the letter");
check(third?.problem?.code === "document-type-not-found", "the third has no type");

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
  return client.GET("/v1/customer/documents", {
    params: { query: { limit: 1, ...(cursor === null ? {} : { cursor }) } },
  });
}

const content = await client.GET("/v1/customer/documents/{key}/content", {
  params: { path: { key: "letter" } },
  parseAs: "blob",
});
check(content.data, "a file");
await checkSame(content.data, letter);

const preview = await client.GET("/v1/customer/documents/{key}/preview", {
  params: { ...card, query: { size: "small" } },
  parseAs: "blob",
});
check(preview.data, "a preview");
await checkPicture(preview.data);

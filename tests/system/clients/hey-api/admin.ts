import {
  adminCreateDocumentType, adminListCustomers, adminPutCustomer, adminReadContent,
  adminReadPreview, adminUploadDocument,
} from "./generated/admin";
import { client } from "./generated/admin/client.gen";
import {
  baseUrl, check, checkPicture, checkSame, credential, customerId, html, photo, values,
} from "../support";

client.setConfig({ baseUrl, auth: () => credential });
const path = { id: customerId, key: "card" };

const conflict = await adminCreateDocumentType({ body: { name: "Another card", key: "card" } });
check(conflict.error?.code === "key-conflict", "a key is unique");

for (const id of [customerId, `${customerId}-b`]) {
  const { data } = await adminPutCustomer({
    path: { id },
    body: { name: "A. Bakker", tags: ["wholesale"] },
  });
  check(data?.id === id, "a customer is registered");
}

const found: string[] = [];
let cursor: string | null = null;
do {
  const query: { limit: number; cursor?: string } = {
    limit: 1,
    ...(cursor === null ? {} : { cursor }),
  };
  const { data } = await adminListCustomers({ query });
  check(data, "a page");
  found.push(...data.items.map((customer) => customer.id));
  cursor = data.next_cursor;
} while (cursor !== null);
check(found.includes(customerId) && found.includes(`${customerId}-b`), "every page is read");

const sent = await adminUploadDocument({ path, body: { file: [photo], field_values: values } });
check(sent.data?.field_values["date-of-issue"] === "2024-05-02", "values are stored");

const refused = await adminUploadDocument({ path, body: { file: [html] } });
check(refused.error?.code === "unsupported-media-type", "a page is refused");
check(refused.error.allowed.includes("image/jpeg"), "accepted types are listed");

const content = await adminReadContent({ path, parseAs: "blob" });
check(content.data, "a file");
await checkSame(content.data, photo);

const preview = await adminReadPreview({ path, parseAs: "blob" });
check(preview.data, "a preview");
await checkPicture(preview.data);

import {
  adminCreateDocumentType, adminListCustomers, adminPutCustomer, adminReadContent,
  adminReadPreview, adminUploadDocument,
} from "./generated/admin";
import { behaveLikePage } from "./page";
import { check, checkPicture, checkSame, credential, customerId, html, photo, values } from "../support";

behaveLikePage();
const options = { headers: { Authorization: `Bearer ${credential}` } };

const conflict = await adminCreateDocumentType({ name: "Another card", key: "card" }, options);
check(conflict.status === 409 && conflict.data.code === "key-conflict", "a key is unique");

for (const id of [customerId, `${customerId}-b`]) {
  const put = await adminPutCustomer(id, { name: "A. Bakker", tags: ["wholesale"] }, options);
  check(put.status === 201 && put.data.id === id, "a customer is registered");
}

const found: string[] = [];
let cursor: string | null = null;
do {
  const query: { limit: number; cursor?: string } = {
    limit: 1,
    ...(cursor === null ? {} : { cursor }),
  };
  const page = await adminListCustomers(query, options);
  check(page.status === 200, "a page");
  found.push(...page.data.items.map((customer) => customer.id));
  cursor = page.data.next_cursor;
} while (cursor !== null);
check(found.includes(customerId) && found.includes(`${customerId}-b`), "every page is read");

const upload = { file: [photo], field_values: values };
const sent = await adminUploadDocument(customerId, "card", upload, options);
check(sent.status === 201, "a document is uploaded");
check(sent.data.field_values["date-of-issue"] === "2024-05-02", "values are stored");

const refused = await adminUploadDocument(customerId, "card", { file: [html] }, options);
check(refused.status === 415, "a page is refused");
check(refused.data.code === "unsupported-media-type", "its type is not accepted");
check(refused.data.allowed.includes("image/jpeg"), "accepted types are listed");

const content = await adminReadContent(customerId, "card", {}, options);
check(content.status === 200, "a file");
await checkSame(content.data, photo);

const preview = await adminReadPreview(customerId, "card", {}, options);
check(preview.status === 200, "a preview");
await checkPicture(preview.data);

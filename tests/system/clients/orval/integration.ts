import {
  integrationListDocuments, integrationPutCustomerBatch, integrationReadContent,
  integrationUploadDocument,
} from "./generated/integration";
import { behaveLikePage } from "./page";
import { check, checkSame, credential, customerId, html, photo, values } from "../support";

behaveLikePage();
const options = { headers: { "X-API-Key": credential } };

const items = [{ id: customerId, name: "A. Bakker" }, { id: `${customerId}-b` }];
const batch = await integrationPutCustomerBatch({ items }, options);
check(batch.status === 207, "a batch has results");
check(batch.data.items.every((item) => item.problem === null), "customers are registered");

const upload = { file: [photo], field_values: values };
const sent = await integrationUploadDocument(customerId, "card", upload, options);
check(sent.status === 201, "a document is uploaded");
check(sent.data.field_values["date-of-issue"] === "2024-05-02", "values are stored");

const refused = await integrationUploadDocument(customerId, "card", { file: [html] }, options);
check(refused.status === 415, "a page is refused");
check(refused.data.code === "unsupported-media-type", "its type is not accepted");
check(refused.data.allowed.includes("image/jpeg"), "accepted types are listed");

const found: string[] = [];
let cursor: string | null = null;
do {
  const query: { limit: number; cursor?: string } = {
    limit: 1,
    ...(cursor === null ? {} : { cursor }),
  };
  const page = await integrationListDocuments(customerId, query, options);
  check(page.status === 200, "a page");
  found.push(...page.data.items.map((document) => document.type.key));
  cursor = page.data.next_cursor;
} while (cursor !== null);
check(found.includes("card") && found.includes("letter"), "every page is read");

const content = await integrationReadContent(customerId, "card", {}, options);
check(content.status === 200, "a file");
await checkSame(content.data, photo);

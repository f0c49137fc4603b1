import {
  integrationListDocuments, integrationPutCustomerBatch, integrationReadContent,
  integrationUploadDocument,
} from "./generated/integration";
import { client } from "./generated/integration/client.gen";
import { baseUrl, check, checkSame, credential, customerId, html, photo, values } from "../support";

client.setConfig({ baseUrl, auth: () => credential });
const path = { id: customerId, key: "card" };

const batch = await integrationPutCustomerBatch({
  body: { items: [{ id: customerId, name: "A. Bakker" }, { id: `${customerId}-b` }] },
});
check(batch.data?.items.every((item) => item.problem === null), "customers are registered");

const sent = await integrationUploadDocument({
  path,
  body: { file: [photo], field_values: values },
});
check(sent.data?.field_values["date-of-issue"] === "2024-05-02", "values are stored");

const refused = await integrationUploadDocument({ path, body: { file: [html] } });
check(refused.error?.code === "unsupported-media-type", "a page is refused");
check(refused.error.allowed.includes("image/jpeg"), "accepted types are listed");

const found: string[] = [];
let cursor: string | null = null;
do {
  const query: { limit: number; cursor?: string } = {
    limit: 1,
    ...(cursor === null ? {} : { cursor }),
  };
  const { data } = await integrationListDocuments({ path: { id: customerId }, query });
  check(data, "a page");
  found.push(...data.items.map((document) => document.type.key));
  cursor = data.next_cursor;
} while (cursor !== null);
check(found.includes("card") && found.includes("letter"), "every page is read");

const content = await integrationReadContent({ path, parseAs: "blob" });
check(content.data, "a file");
await checkSame(content.data, photo);

import {
  customerListDocuments, customerReadContent, customerReadPreview, customerSaveDocumentBatch,
  customerUploadDocument,
} from "./generated/customer";
import { client } from "./generated/customer/client.gen";
import {
  baseUrl, check, checkPicture, checkSame, credential, html, letter, photo, values,
} from "../support";

client.setConfig({ baseUrl, auth: () => credential });
const path = { key: "card" };

const sent = await customerUploadDocument({
  path,
  headers: { "Idempotency-Key": crypto.randomUUID() },
  body: { file: [photo], field_values: values },
});
check(sent.data?.field_values["date-of-issue"] === "2024-05-02", "values are stored");

const refused = await customerUploadDocument({ path, body: { file: [html] } });
check(refused.error?.code === "unsupported-media-type", "a page is refused");
check(refused.error.allowed.includes("image/jpeg"), "accepted types are listed");

const batch = await customerSaveDocumentBatch({
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
  const query: { limit: number; cursor?: string } = {
    limit: 1,
    ...(cursor === null ? {} : { cursor }),
  };
  const { data } = await customerListDocuments({ query });
  check(data, "a page");
  found.push(...data.items.map((document) => document.type.key));
  cursor = data.next_cursor;
} while (cursor !== null);
check(found.includes("card") && found.includes("letter"), "every page is read");

// By itself the client would parse a text file as text.
const content = await customerReadContent({ path: { key: "letter" }, parseAs: "blob" });
check(content.data, "a file");
await checkSame(content.data, letter);

const preview = await customerReadPreview({ path, query: { size: "small" }, parseAs: "blob" });
check(preview.data, "a preview");
await checkPicture(preview.data);

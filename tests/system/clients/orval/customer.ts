import {
  customerListDocuments, customerReadContent, customerReadPreview, customerSaveDocumentBatch,
  customerUploadDocument,
} from "./generated/customer";
import { behaveLikePage } from "./page";
import { check, checkPicture, checkSame, credential, html, letter, photo, values } from "../support";

behaveLikePage();
const headers = { Authorization: `Bearer ${credential}` };

const sent = await customerUploadDocument(
  "card",
  { file: [photo], field_values: values },
  { headers: { ...headers, "Idempotency-Key": crypto.randomUUID() } },
);
check(sent.status === 201, "a document is uploaded");
check(sent.data.field_values["date-of-issue"] === "2024-05-02", "values are stored");

const refused = await customerUploadDocument("card", { file: [html] }, { headers });
check(refused.status === 415, "a page is refused");
check(refused.data.code === "unsupported-media-type", "its type is not accepted");
check(refused.data.allowed.includes("image/jpeg"), "accepted types are listed");

const batch = await customerSaveDocumentBatch(
  {
    batch: {
      items: [
        { key: "card", files: [0], field_values: values },
        { key: "letter", files: [1] },
        { key: "lost", files: [2] },
      ],
    },
    files: [photo, letter, photo],
  },
  { headers },
);
check(batch.status === 207, "a batch has results");
const [first, second, third] = batch.data.items;
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
  const page = await customerListDocuments(query, { headers });
  check(page.status === 200, "a page");
  found.push(...page.data.items.map((document) => document.type.key));
  cursor = page.data.next_cursor;
} while (cursor !== null);
check(found.includes("card") && found.includes("letter"), "every page is read");

const content = await customerReadContent("letter", {}, { headers });
check(content.status === 200, "a file");
await checkSame(content.data, letter);

const preview = await customerReadPreview("card", { size: "small" }, { headers });
check(preview.status === 200, "a preview");
await checkPicture(preview.data);

// Writes the TypeScript types of an OpenAPI document to stdout, as a front end would generate them.
import { readFileSync } from "node:fs";
import openapiTS, { astToString } from "openapi-typescript";
import ts from "typescript";

const [document] = process.argv.slice(2);

const types = await openapiTS(readFileSync(document, "utf8"), {
  // Files are bytes, not text.
  transform: (schema) =>
    schema.format === "binary" ? ts.factory.createTypeReferenceNode("Blob") : undefined,
});
process.stdout.write(astToString(types));

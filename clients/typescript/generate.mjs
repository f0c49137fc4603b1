// Writes src/generated: the types of the three contracts.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import openapiTS, { astToString } from "openapi-typescript";
import ts from "typescript";

const CONTRACTS = new URL("../../openapi", import.meta.url).pathname;

mkdirSync("src/generated", { recursive: true });
for (const audience of ["admin", "customer", "integration"]) {
  const types = await openapiTS(readFileSync(`${CONTRACTS}/${audience}.json`, "utf8"), {
    // Files are bytes, not text.
    transform: (schema) =>
      schema.format === "binary" ? ts.factory.createTypeReferenceNode("Blob") : undefined,
  });
  writeFileSync(`src/generated/${audience}.ts`, astToString(types));
}

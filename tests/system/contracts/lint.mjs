// Lints an OpenAPI document with the rules of redocly.yaml, which it checks too: prints one line
// per problem. This is the engine of @redocly/cli, which itself would add 230 more packages.
import { readFileSync } from "node:fs";
import { createConfig, lint, lintConfig, makeDocumentFromString } from "@redocly/openapi-core";

const RULES = "redocly.yaml";
const [document] = process.argv.slice(2);

const text = readFileSync(RULES, "utf8");
const config = await createConfig(text);
const problems = [
  ...(await lintConfig({ document: makeDocumentFromString(text, RULES), config })),
  ...(await lint({ ref: document, config })),
];
for (const { ruleId, location, message } of problems) {
  const place = location[0]?.pointer ?? "";
  console.log(`${ruleId} ${place} ${message.replaceAll("\n", " ")}`);
}

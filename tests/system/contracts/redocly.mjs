// Lints OpenAPI documents with the rules of redocly.yaml, which it checks too: prints one line per
// problem. This is the engine of @redocly/cli, which itself would add 200 more packages.
import { readFileSync } from "node:fs";
import { createConfig, lint, lintConfig, makeDocumentFromString } from "@redocly/openapi-core";

const RULES = "redocly.yaml";

const text = readFileSync(RULES, "utf8");
const config = await createConfig(text);
const problems = await lintConfig({ document: makeDocumentFromString(text, RULES), config });
for (const ref of process.argv.slice(2)) {
  problems.push(...(await lint({ ref, config })));
}
for (const { ruleId, location, message } of problems) {
  const place = location[0]?.pointer ?? "";
  // Webhooks are named after types of events, which are no paths.
  if (ruleId === "paths-kebab-case" && place.startsWith("#/webhooks/")) continue;
  const file = location[0]?.source.absoluteRef.split("/").at(-1);
  console.log(`${ruleId} ${file} ${place} ${message.replaceAll("\n", " ")}`);
}

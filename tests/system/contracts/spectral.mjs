// Lints OpenAPI documents with every recommended rule of `spectral:oas`: prints one line per
// problem, warnings included. This is the engine of @stoplight/spectral-cli.
import { readFileSync } from "node:fs";
import spectral from "@stoplight/spectral-core";
import parsers from "@stoplight/spectral-parsers";
import rulesets from "@stoplight/spectral-rulesets";

const linter = new spectral.Spectral();
linter.setRuleset({ extends: [rulesets.oas] });
for (const file of process.argv.slice(2)) {
  const document = new spectral.Document(readFileSync(file, "utf8"), parsers.Json, file);
  for (const { code, path, message } of await linter.run(document)) {
    console.log(`${code} ${file.split("/").at(-1)} ${path.join("/")} ${message}`);
  }
}

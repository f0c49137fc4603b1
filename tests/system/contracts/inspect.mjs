// Describes a file of generated types as JSON: for each property by path its type, whether it is
// optional and whether it can be null; and the paths of everything that is `any` or `unknown`.
import { readFileSync } from "node:fs";
import ts from "typescript";

const LOOSE = new Set([ts.SyntaxKind.AnyKeyword, ts.SyntaxKind.UnknownKeyword]);

const [file] = process.argv.slice(2);
const text = readFileSync(file, "utf8");
const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
const printer = ts.createPrinter({ removeComments: true });
const properties = {};
const loose = [];

function isNull(type) {
  return ts.isLiteralTypeNode(type) && type.literal.kind === ts.SyntaxKind.NullKeyword;
}

function describe(property) {
  const { type } = property;
  return {
    type: printer.printNode(ts.EmitHint.Unspecified, type, source).replace(/\s+/g, " "),
    optional: property.questionToken !== undefined,
    nullable: ts.isUnionTypeNode(type) && type.types.some(isNull),
  };
}

function nameOf(node) {
  if (ts.isIndexSignatureDeclaration(node)) {
    return "*";
  }
  return ts.isInterfaceDeclaration(node) || ts.isPropertySignature(node) ? node.name.text : null;
}

function visit(node, above) {
  const name = nameOf(node);
  const path = name === null ? above : [...above, name];
  if (ts.isPropertySignature(node)) {
    properties[path.join(".")] = describe(node);
  }
  if (LOOSE.has(node.kind)) {
    loose.push(path.join("."));
  }
  ts.forEachChild(node, (child) => visit(child, path));
}

visit(source, []);
console.log(JSON.stringify({ properties, loose }));

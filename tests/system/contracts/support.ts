// Shared by all three programs.

/** Does not compile if a `switch` omits a value. */
export function exhausted(value: never): never {
  throw new Error(`unexpected: ${String(value)}`);
}

/** Values as JSON, files as bytes, as required by `encoding` in the contracts. */
export function multipart(body: Record<string, unknown>): FormData {
  const form = new FormData();
  for (const [name, value] of Object.entries(body)) {
    for (const part of isFiles(value) ? value : [value]) {
      form.append(name, part instanceof Blob ? part : JSON.stringify(part));
    }
  }
  return form;
}

function isFiles(value: unknown): value is Blob[] {
  return Array.isArray(value) && value.every((item) => item instanceof Blob);
}

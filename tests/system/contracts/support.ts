// What all three programs need.

/** Does not compile while a `switch` leaves a value out. */
export function exhausted(value: never): never {
  throw new Error(`unexpected: ${String(value)}`);
}

/** Values as JSON, files as they are: what `encoding` in the contracts asks for. */
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

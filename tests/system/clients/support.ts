// What the programs are given, and checks.
declare const process: { env: Record<string, string | undefined> };

export function given(name: string): string {
  const value = process.env[name];
  check(value, `${name} is set`);
  return value;
}

export function check(condition: unknown, expectation: string): asserts condition {
  if (!condition) {
    throw new Error(`not true: ${expectation}`);
  }
}

export const baseUrl = given("DOCVAULT_URL");
export const credential = given("DOCVAULT_CREDENTIAL");
/** The customer who is the caller, or whose documents are changed. */
export const customerId = given("CUSTOMER_ID");

const bytes = Uint8Array.from(atob(given("PHOTO")), (character) => character.charCodeAt(0));
export const photo = new File([bytes], "photo.jpg", { type: "image/jpeg" });
export const letter = new File(["Dear Sir or Madam"], "letter.txt", { type: "text/plain" });
export const html = new File(["<html>"], "page.html", { type: "text/html" });
export const values = { "date-of-issue": "2024-05-02" };

export async function checkSame(found: Blob, expected: Blob): Promise<void> {
  const [one, other] = [await bytesOf(found), await bytesOf(expected)];
  check(one.length === other.length && one.every((byte, i) => byte === other[i]), "same bytes");
}

export async function checkPicture(found: Blob): Promise<void> {
  const [first, second] = await bytesOf(found);
  check(first === 0xff && second === 0xd8, "a JPEG");
}

async function bytesOf(blob: Blob): Promise<Uint8Array> {
  return new Uint8Array(await blob.arrayBuffer());
}

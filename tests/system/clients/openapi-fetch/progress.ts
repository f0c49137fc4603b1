// Runs in a browser: uploads a large file, and one that is refused, with progress.
import { createCustomerClient, fetchWithProgress, type Progress } from "docvault-client";

const given = new URLSearchParams(location.search);
const client = createCustomerClient({
  baseUrl: given.get("docvault") ?? "",
  token: () => given.get("token") ?? "",
});

async function upload(file: File) {
  const reports: Progress[] = [];
  const { data, error } = await client.PUT("/v1/customer/documents/{key}", {
    params: { path: { key: "letter" } },
    body: { file: [file] },
    fetch: fetchWithProgress((progress) => reports.push(progress)),
  });
  return { reports, stored: data?.files[0]?.size_bytes, code: error?.code };
}

async function cancel() {
  const aborted = new AbortController();
  const sent = client.PUT("/v1/customer/documents/{key}", {
    params: { path: { key: "letter" } },
    body: { file: [new File(["x".repeat(3_000_000)], "letter.txt")] },
    signal: aborted.signal,
    fetch: fetchWithProgress(() => aborted.abort()),
  });
  return sent.then(() => "sent", (reason: Error) => reason.name);
}

const results = {
  letter: await upload(new File(["Dear customer. ".repeat(200_000)], "letter.txt")),
  page: await upload(new File(["<html>"], "page.html")),
  cancelled: await cancel(),
};
await fetch("/results", { method: "POST", body: JSON.stringify(results) });

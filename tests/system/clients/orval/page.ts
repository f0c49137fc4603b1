// orval's functions use relative URLs, as in a page, and have no place for a credential.
import { baseUrl } from "../support";

export function behaveLikePage(): void {
  const fetchUrl = globalThis.fetch;
  globalThis.fetch = (url, options) => fetchUrl(new URL(url.toString(), baseUrl), options);
}

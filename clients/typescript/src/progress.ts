export interface Progress {
  sentBytes: number;
  totalBytes: number;
}

// A response with one of these has no body, and `Response` rejects even an empty one.
const WITHOUT_BODY = [204, 205, 304];

/**
 * Returns a `fetch` for one request that reports how much of its body was sent.
 *
 * `fetch` itself cannot do that, so this uses XMLHttpRequest and only works in browsers.
 */
export function fetchWithProgress(
  report: (progress: Progress) => void,
): (request: Request) => Promise<Response> {
  return async (request) => {
    request.signal.throwIfAborted();
    const body = await request.blob();
    return new Promise((resolve, reject) => {
      const xhr = new XMLHttpRequest();
      xhr.open(request.method, request.url);
      xhr.responseType = "blob";
      request.headers.forEach((value, name) => xhr.setRequestHeader(name, value));
      xhr.upload.onprogress = ({ loaded, total }) =>
        report({ sentBytes: loaded, totalBytes: total });
      xhr.onload = () => resolve(responseOf(xhr));
      xhr.onerror = () => reject(new TypeError("The request failed."));
      xhr.onabort = () => reject(request.signal.reason);
      request.signal.addEventListener("abort", () => xhr.abort(), { once: true });
      xhr.send(body);
    });
  };
}

function responseOf(xhr: XMLHttpRequest): Response {
  const headers = new Headers();
  for (const line of xhr.getAllResponseHeaders().split("\r\n")) {
    const [name, ...value] = line.split(": ");
    if (name) {
      headers.append(name, value.join(": "));
    }
  }
  const body: Blob | null = WITHOUT_BODY.includes(xhr.status) ? null : xhr.response;
  return new Response(body, { status: xhr.status, statusText: xhr.statusText, headers });
}

import { ProblemError, type Problem } from "./problems.js";

const WAIT_SECONDS = 25;
const FIRST_PAUSE_SECONDS = 1;
const LONGEST_PAUSE_SECONDS = 60;
const GONE = 410;
const TOO_MANY_REQUESTS = 429;
const SERVER_ERROR = 500;

/** Where to read on, and how many seconds to wait for an event. */
export interface FeedQuery {
  after?: string;
  wait: number;
}

interface FeedResponse<Page> {
  data?: Page;
  error?: unknown;
  response: Response;
}

type Outcome<Page> = { page: Page } | { failure: unknown; waitSeconds: number };

export interface FollowOptions {
  /** The `next_after` of the last page that was dealt with; without it, the oldest event. */
  after?: string | undefined;
  /** Ends the loop. Give it to the request too. */
  signal?: AbortSignal;
  /** Is told why a request has failed that will be repeated. */
  onRetry?: (reason: unknown) => void;
}

/**
 * The events after a position no longer exist, or a restored database has begun a new log. Read
 * everything once more, and follow from there.
 */
export class EventsExpiredError extends ProblemError {
  override name = "EventsExpiredError";
}

/**
 * Yields the pages of the event feed without end, also pages without events. Keep `next_after` of
 * each page once its events are dealt with, and begin with it after a restart.
 *
 *     for await (const page of followEvents(
 *       (query) => docvault.GET("/v1/integration/events", { params: { query } }),
 *       { after },
 *     )) { … }
 *
 * Requests that fail for a time are repeated. Throws {@link EventsExpiredError}, and
 * {@link ProblemError} for any other refusal.
 */
export async function* followEvents<Page extends { next_after: string }>(
  read: (query: FeedQuery) => Promise<FeedResponse<Page>>,
  { after, signal, onRetry }: FollowOptions = {},
): AsyncGenerator<Page, void, undefined> {
  let pauseSeconds = FIRST_PAUSE_SECONDS;
  while (!signal?.aborted) {
    const query: FeedQuery = { wait: WAIT_SECONDS, ...(after === undefined ? {} : { after }) };
    const outcome = await tryToRead(() => read(query));
    if ("page" in outcome) {
      pauseSeconds = FIRST_PAUSE_SECONDS;
      after = outcome.page.next_after;
      yield outcome.page;
    } else if (!signal?.aborted) {
      onRetry?.(outcome.failure);
      await sleep(Math.max(pauseSeconds, outcome.waitSeconds), signal);
      pauseSeconds = Math.min(2 * pauseSeconds, LONGEST_PAUSE_SECONDS);
    }
  }
}

async function tryToRead<Page>(read: () => Promise<FeedResponse<Page>>): Promise<Outcome<Page>> {
  let result: FeedResponse<Page>;
  try {
    result = await read();
  } catch (failure) {
    return { failure, waitSeconds: 0 };
  }
  const { data, error, response } = result;
  if (data !== undefined) {
    return { page: data };
  }
  const problem = isProblem(error) ? error : undefined;
  if (response.status === GONE) {
    throw new EventsExpiredError(response.status, problem);
  }
  const failure = new ProblemError(response.status, problem);
  if (response.status !== TOO_MANY_REQUESTS && response.status < SERVER_ERROR) {
    throw failure;
  }
  return { failure, waitSeconds: Number(response.headers.get("Retry-After")) || 0 };
}

function isProblem(error: unknown): error is Problem {
  return typeof error === "object" && error !== null && "code" in error && "detail" in error;
}

function sleep(seconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, seconds * 1000);
    signal?.addEventListener("abort", end);
  });
}

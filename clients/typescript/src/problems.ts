/** An error response; its other members depend on `code`. */
export interface Problem {
  code: string;
  detail: string;
}

/** The service has refused a request. */
export class ProblemError extends Error {
  override name = "ProblemError";

  constructor(
    readonly status: number,
    readonly problem: Problem | undefined,
  ) {
    super(problem ? `${problem.code}: ${problem.detail}` : `HTTP status ${status}`);
  }
}

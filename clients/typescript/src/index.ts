/** Typed clients of the docvault APIs. */
export {
  createAdminClient,
  createCustomerClient,
  createIntegrationClient,
  type AdminClient,
  type CustomerClient,
  type IntegrationClient,
  type KeyOptions,
  type TokenOptions,
} from "./clients.js";
export {
  EventsExpiredError,
  followEvents,
  type FeedQuery,
  type FollowOptions,
} from "./events.js";
export { ProblemError, type Problem } from "./problems.js";
export {
  verifyWebhook,
  WebhookVerificationError,
  type WebhookHeaders,
  type WebhookMessage,
} from "./webhooks.js";
export { fetchWithProgress, type Progress } from "./progress.js";
export type * as admin from "./generated/admin.js";
export type * as customer from "./generated/customer.js";
export type * as integration from "./generated/integration.js";

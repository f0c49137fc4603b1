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
export { fetchWithProgress, type Progress } from "./progress.js";
export type * as admin from "./generated/admin.js";
export type * as customer from "./generated/customer.js";
export type * as integration from "./generated/integration.js";

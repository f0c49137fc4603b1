-- Records that a delivery was received. The row of the webhook changes at most once a minute,
-- unless the webhook has failed before.
WITH delivery AS (
    UPDATE webhook_deliveries
    SET state = 'delivered', due_at = NULL, used_attempts = used_attempts + 1,
        attempts = {with_attempt}
    WHERE id = %(id)s::uuid AND state = 'pending' AND due_at = %(lease)s::timestamptz
    RETURNING webhook_id
)
UPDATE webhooks
SET consecutive_failures = 0, failing_since = NULL, last_success_at = now()
FROM delivery
WHERE webhooks.id = delivery.webhook_id AND (
    webhooks.consecutive_failures > 0
    OR webhooks.last_success_at IS NULL
    OR webhooks.last_success_at < now() - interval '1 minute'
)

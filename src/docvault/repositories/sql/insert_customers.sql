-- Adds the customers that do not exist, and returns them. In the order of their ids, because an
-- insertion waits for another transaction that has inserted the same id.
INSERT INTO customers (id, external_id, name, email, tags, tokens_valid_from)
SELECT
    item.id, item.external_id, item.name, item.email, item.tags,
    (SELECT max(requested_at) FROM erasures WHERE customer_pseudonym = ANY (item.pseudonyms))
FROM json_to_recordset(%(customers)s::json) AS item (
    id uuid, external_id text, pseudonyms text[], name text, email text, tags text[]
)
-- A customer that is deleted meanwhile is not inserted: this statement may not see the erasure,
-- and would accept tokens of the erased customer.
WHERE NOT EXISTS (SELECT FROM customers WHERE customers.external_id = item.external_id)
ORDER BY item.external_id COLLATE "C"
ON CONFLICT (external_id) DO NOTHING
RETURNING {customer_columns}

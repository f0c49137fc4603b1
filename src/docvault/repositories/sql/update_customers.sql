-- Replaces the data of customers.
UPDATE customers
SET name = item.name, email = item.email, tags = item.tags, updated_at = clock_timestamp()
FROM json_to_recordset(%(customers)s::json) AS item (
    id uuid, name text, email text, tags text[]
)
WHERE customers.id = item.id
    AND (%(reachable_id)s::uuid IS NULL OR customers.id = %(reachable_id)s::uuid)

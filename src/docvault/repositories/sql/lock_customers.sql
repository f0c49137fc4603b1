-- Locks customers in the order of their ids. The lock is that of an update: uploads may still
-- reserve blobs meanwhile.
SELECT {customer_columns}
FROM customers
WHERE external_id = ANY(%(external_ids)s::text[])
    AND (%(reachable_id)s::uuid IS NULL OR customers.id = %(reachable_id)s::uuid)
ORDER BY customers.external_id
FOR NO KEY UPDATE

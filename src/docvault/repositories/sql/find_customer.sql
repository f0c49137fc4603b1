-- A customer and the portal switches.
SELECT
    {customer_columns},
    {portal_columns}
FROM customers
WHERE customers.external_id = %(external_id)s
    AND (%(reachable_id)s::uuid IS NULL OR customers.id = %(reachable_id)s::uuid)

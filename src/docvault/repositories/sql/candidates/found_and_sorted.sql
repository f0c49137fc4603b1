-- SearchPlan.FEW_FOUND and ALL_FOUND, in another order. `OFFSET 0` forces one look-up per customer,
-- regardless of the planner's estimates.
SELECT {sort_column} AS sort_value, external_id
FROM (SELECT DISTINCT external_id FROM found WHERE {has_few_found}) AS found (id)
CROSS JOIN LATERAL (
    SELECT * FROM customers
    WHERE customers.external_id = found.id AND erasure_id IS NULL
    OFFSET 0
) AS customers
WHERE {is_after_cursor} AND {matches_documents} AND {matches_tags}

-- For each customer of a page: how many of the requested documents are uploaded or missing, and when
-- documents changed.
WITH requested AS MATERIALIZED ({requested_types})
SELECT
    customers.id AS customer_id,
    cardinality(fact_sets.numbers) > 0 AS has_documents,
    count(requested.number) AS types,
    count(*) FILTER (WHERE numbers @> ARRAY[requested.number]) AS uploaded,
    count(*) FILTER (WHERE requested.required AND NOT numbers @> requested.needed)
        AS required_missing,
    customers.documents_changed_at,
    customers.last_uploaded_at
FROM customers
JOIN fact_sets ON fact_sets.id = customers.fact_set_id
LEFT JOIN requested ON true
WHERE customers.id = ANY(%(customer_ids)s::uuid[])
GROUP BY customers.id, fact_sets.id

-- How many customers a filter selects.
SELECT count(*) AS number FROM customers
WHERE erasure_id IS NULL AND {matches_documents} AND {matches_search} AND {matches_tags}
    AND (%(reachable_id)s::uuid IS NULL OR id = %(reachable_id)s::uuid)

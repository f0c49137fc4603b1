-- The frame of a page: customer_pages.py fills in the candidates, which a plan of `candidates`
-- finds, and the conditions; see `fragments/matches_documents.sql`. `is_last` says that no customers
-- follow, but nothing of a full page: candidates are read only until it is full. The left join
-- returns it even if no candidate matches, with null columns.
WITH RECURSIVE {before_candidates} candidates AS MATERIALIZED ({candidates}),
page AS (
    SELECT sort_value, external_id FROM candidates
    WHERE {conditions}
    ORDER BY sort_value {direction}, external_id {direction}
    LIMIT %(limit)s::integer
)
SELECT
    {customer_columns},
    sort_value,
    is_last
FROM (
    SELECT (SELECT count(*) FROM page) < %(limit)s::integer AND {is_last} AS is_last
) AS status
LEFT JOIN (page JOIN customers ON customers.external_id = page.external_id)
    ON %(reachable_id)s::uuid IS NULL OR customers.id = %(reachable_id)s::uuid
ORDER BY sort_value {direction}, page.external_id {direction}

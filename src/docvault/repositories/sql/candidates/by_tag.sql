-- SearchPlan.BY_TAG: every customer with the tags, whom a search finds if there is one. With other
-- filters they are found first and sorted then, as in BY_WORD; without, the planner knows how many
-- there are, and may read customers in order until the page is full. `tags <> '{}'` is a condition of
-- the index.
SELECT {sort_column} AS sort_value, external_id FROM (
    SELECT * FROM customers
    WHERE erasure_id IS NULL AND tags <> '{}' AND {matches_tags} AND {matches_search}
    {found_first}
) AS customers
WHERE {is_after_cursor} AND {matches_documents}
ORDER BY {sort_column} {direction}, external_id {direction}
LIMIT %(limit)s::integer

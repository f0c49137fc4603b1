-- SearchPlan.BY_SEARCH, for one searched column: every customer that the search finds. They are
-- found first and sorted then: `OFFSET 0` keeps the planner from reading customers in order until
-- enough of them match. Reading in the sort direction finds early what sorts early, as far as the
-- two orders agree.
(
    SELECT {sort_column} AS sort_value, external_id FROM (
        SELECT {sort_column}, external_id, fact_set_id FROM customers
        WHERE erasure_id IS NULL AND {begins_with_search}
        ORDER BY {searched_column} {direction}
        OFFSET 0
    ) AS customers
    WHERE {is_after_cursor} AND {matches_documents}
    ORDER BY {sort_column} {direction}, external_id {direction}
    LIMIT %(limit)s::integer
)

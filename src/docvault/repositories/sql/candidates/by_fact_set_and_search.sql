-- SearchPlan.BY_FACT_SET with a search, for one searched column: every customer of the matching
-- fact sets that the search finds. Returns none if there are too many sets. `OFFSET 0` forces one
-- index look-up per set, regardless of the planner's estimates.
(
    SELECT sort_value, external_id FROM matching CROSS JOIN LATERAL (
        SELECT {sort_column} AS sort_value, external_id FROM customers
        WHERE fact_set_id = matching.id AND erasure_id IS NULL
            AND {begins_with_search} AND {is_after_cursor}
        OFFSET 0
    ) AS customers
    WHERE {has_few_sets}
    ORDER BY sort_value {direction}, external_id {direction}
    LIMIT %(limit)s::integer
)

-- SearchPlan.BY_FACT_SET with tags or a search: every customer of the matching fact sets after the
-- cursor, unless there are too many. `OFFSET 0` forces one index look-up per set, regardless of the
-- planner's estimates. In order, so that the other filters are checked only until the page is full.
SELECT sort_value, external_id FROM (
    SELECT sort_value, external_id FROM ({matching_fact_sets}) AS matching CROSS JOIN LATERAL (
        SELECT {sort_column} AS sort_value, external_id FROM customers
        WHERE fact_set_id = matching.id AND erasure_id IS NULL AND {is_after_cursor}
        OFFSET 0
    ) AS customers
    LIMIT {max_read} + 1
) AS customers
ORDER BY sort_value {direction}, external_id {direction}

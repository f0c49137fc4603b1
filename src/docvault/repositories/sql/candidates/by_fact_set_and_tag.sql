-- SearchPlan.BY_FACT_SET with tags: every customer of the matching fact sets after the cursor, unless
-- there are too many. `OFFSET 0` forces one index look-up per set, regardless of the planner's
-- estimates.
SELECT sort_value, external_id FROM ({matching_fact_sets}) AS matching CROSS JOIN LATERAL (
    SELECT {sort_column} AS sort_value, external_id FROM customers
    WHERE fact_set_id = matching.id AND erasure_id IS NULL AND {is_after_cursor}
    OFFSET 0
) AS customers
LIMIT {max_read} + 1

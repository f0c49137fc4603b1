-- SearchPlan.BY_FACT_SET: the next customers of the matching fact sets. The first N customers
-- belong to at most N sets, so it suffices to look at the N sets whose first customer sorts first.
SELECT sort_value, external_id FROM (
    SELECT matching.id FROM ({matching_fact_sets}) AS matching CROSS JOIN LATERAL (
        SELECT {sort_column} AS sort_value, external_id FROM customers
        WHERE fact_set_id = matching.id AND erasure_id IS NULL AND {is_after_cursor}
        ORDER BY {sort_column} {direction}, external_id {direction}
        LIMIT 1
    ) AS first_customer
    ORDER BY sort_value {direction}, external_id {direction}
    LIMIT %(limit)s::integer
) AS first_sets CROSS JOIN LATERAL (
    SELECT {sort_column} AS sort_value, external_id FROM customers
    WHERE fact_set_id = first_sets.id AND erasure_id IS NULL AND {is_after_cursor}
    ORDER BY {sort_column} {direction}, external_id {direction}
    LIMIT %(limit)s::integer
) AS customers
ORDER BY sort_value {direction}, external_id {direction}
LIMIT %(limit)s::integer

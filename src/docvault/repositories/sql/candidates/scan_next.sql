-- SearchPlan.SCAN_NEXT: the next customers in sort order, matching or not.
SELECT {sort_column} AS sort_value, external_id, fact_set_id {filtered_columns}
FROM customers
WHERE erasure_id IS NULL AND {is_after_cursor}
ORDER BY {sort_column} {direction}, external_id {direction}
LIMIT {scanned}

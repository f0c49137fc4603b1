-- SearchPlan.FEW_FOUND and ALL_FOUND, in an order of `found`: every customer that the search finds.
-- In order, so that the other filters are checked only until the page is full.
SELECT DISTINCT {sort_column} AS sort_value, external_id FROM found
WHERE {has_few_found} AND {is_after_cursor}
ORDER BY {sort_column} {direction}, external_id {direction}

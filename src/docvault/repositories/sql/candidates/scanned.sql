-- SearchPlan.SCAN_NEXT with a filter by documents beside others: of the next customers in sort order,
-- those with the documents.
SELECT sort_value, external_id FROM scanned
WHERE {matches_documents}
ORDER BY sort_value {direction}, external_id {direction}
LIMIT {max_checked}

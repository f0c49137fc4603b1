-- SearchPlan.BY_WORD, for the beginning of an id or an e-mail address. A customer may have both.
(
    SELECT DISTINCT {sort_column} AS sort_value, external_id FROM begun
    WHERE {has_few_words} AND {is_after_cursor} AND {matches_documents}
    ORDER BY {sort_column} {direction}, external_id {direction}
    LIMIT %(limit)s::integer
)

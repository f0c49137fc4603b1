-- SearchPlan.BY_WORD, for words of names: the next customers of each word, who may have it twice.
-- `OFFSET 0` forces reading in order until enough of them match.
(
    SELECT named.sort_value, named.external_id FROM some_words CROSS JOIN LATERAL (
        SELECT DISTINCT {sort_column} AS sort_value, external_id FROM (
            SELECT {sort_column}, external_id FROM customer_words
            WHERE customer_words.word = some_words.word AND {has_tail} AND {is_after_cursor}
            ORDER BY {sort_column} {direction}, external_id {direction}
            OFFSET 0
        ) AS customer_words
        WHERE {customer_matches}
        ORDER BY {sort_column} {direction}, external_id {direction}
        LIMIT %(limit)s::integer
    ) AS named
    WHERE {has_few_words}
)

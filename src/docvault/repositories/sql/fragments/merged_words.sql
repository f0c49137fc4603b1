-- The words of names that begin with the search, by a jump through the index for each; or the first
-- word of the search if it has several.
searched AS MATERIALIZED (
    SELECT word, word || CASE WHEN word = lower THEN repeat(chr(1114111), 1000) ELSE '' END AS last
    FROM lower(%(search)s::text) AS lower, split_part(spaced_words(lower), ' ', 1) AS word
),
words AS (
    (
        SELECT word FROM customer_words
        WHERE word BETWEEN (SELECT word FROM searched) AND (SELECT last FROM searched)
        ORDER BY word LIMIT 1
    )
    UNION ALL
    SELECT following.word FROM words CROSS JOIN LATERAL (
        SELECT customer_words.word FROM customer_words
        WHERE customer_words.word > words.word
            AND customer_words.word <= (SELECT last FROM searched)
        ORDER BY customer_words.word LIMIT 1
    ) AS following
),
some_words AS MATERIALIZED (SELECT word FROM words LIMIT {max_words} + 1),
begun AS MATERIALIZED (
    SELECT * FROM ({found_by_beginning}) AS customers
    LIMIT {max_begun} + 1
),

-- The customers that a search finds, with what its indexes hold. A customer may appear twice.
found AS MATERIALIZED (
    SELECT * FROM (
        SELECT external_id, created_at, lower_name FROM customer_words WHERE {has_tail}
        UNION ALL {found_by_beginning}
    ) AS customers
    {at_most}
),

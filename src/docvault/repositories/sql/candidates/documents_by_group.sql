-- The next documents of the matching groups. The first N documents belong to at most N groups, so it
-- suffices to look at the N groups whose first document is newest.
(
    SELECT listed.id, listed.current_version_id FROM (
        SELECT matching.* FROM matching CROSS JOIN LATERAL (
            SELECT current_version_id FROM documents
            WHERE {is_in_group} AND {is_listed}
            ORDER BY current_version_id DESC
            LIMIT 1
        ) AS newest
        ORDER BY newest.current_version_id DESC
        LIMIT {page_size}
    ) AS matching CROSS JOIN LATERAL (
        SELECT id, current_version_id FROM documents
        WHERE {is_in_group} AND {is_listed}
        ORDER BY current_version_id DESC
        LIMIT {page_size}
    ) AS listed
    WHERE {has_few_groups}
    ORDER BY listed.current_version_id DESC
    LIMIT {page_size}
)
UNION ALL
(
    SELECT id, current_version_id FROM documents
    WHERE NOT {has_few_groups} AND {is_listed} AND {conditions}
    ORDER BY current_version_id DESC
    LIMIT {page_size}
)

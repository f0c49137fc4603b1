-- One document of each group, found by a jump through the index for each. The status depends only on
-- the type and on which fields have a value, so that it is the same for a whole group.
groups AS (
    (
        SELECT {group_columns} FROM documents
        WHERE current_version_id IS NOT NULL AND {of_type}
        ORDER BY document_type_id, uploaded_by_kind, filled_fields(field_values)
        LIMIT 1
    )
    UNION ALL
    SELECT following.* FROM groups CROSS JOIN LATERAL (
        SELECT {group_columns} FROM documents
        WHERE current_version_id IS NOT NULL AND {is_next_group}
        ORDER BY document_type_id, uploaded_by_kind, filled_fields(field_values)
        LIMIT 1
    ) AS following
),
some_groups AS MATERIALIZED (SELECT * FROM groups LIMIT {max_groups} + 1),
matching AS MATERIALIZED (SELECT * FROM some_groups AS documents WHERE {conditions}),

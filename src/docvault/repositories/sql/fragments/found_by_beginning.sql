SELECT external_id, created_at, lower_name {more_columns} FROM customers
WHERE erasure_id IS NULL AND {begins_with_search}

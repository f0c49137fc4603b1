-- The last attempts: retries by staff must not let a row grow for ever.
jsonb_path_query_array(attempts, '$[last - 28 to last]') || %(attempt)s::jsonb

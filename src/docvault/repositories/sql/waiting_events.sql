SELECT
    count(*) AS number,
    coalesce(greatest(extract(epoch FROM now() - min(at)), 0), 0)::float8 AS seconds
FROM events WHERE position IS NULL

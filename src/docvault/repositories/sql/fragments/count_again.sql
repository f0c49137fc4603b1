-- The end of an insertion into `rate_limits AS counter`: adds, or starts a new window.
ON CONFLICT (id) DO UPDATE SET
    number = CASE WHEN counter.ends_at <= now() THEN excluded.number
        ELSE counter.number + excluded.number END,
    ends_at = CASE WHEN counter.ends_at <= now() THEN excluded.ends_at ELSE counter.ends_at END
RETURNING number, extract(epoch FROM ends_at - now())::float8 AS seconds_left

-- Adds to counters, and starts a new window where one has ended.
INSERT INTO rate_limits AS counter (id, number, ends_at)
SELECT id, %(amount)s::integer, now() + %(window)s::interval FROM unnest(%(ids)s::bytea[]) AS id
{count_again}

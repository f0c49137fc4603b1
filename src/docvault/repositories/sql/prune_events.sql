-- Deletes up to :batch of the oldest events, up to the last one that is older than :age.
WITH
page AS (
    SELECT position, at FROM events WHERE position IS NOT NULL ORDER BY position
    LIMIT %(batch)s::integer
),
last_old AS (SELECT max(position) AS position FROM page WHERE at < now() - %(age)s::interval),
log AS (
    UPDATE event_log SET oldest = last_old.position + 1 FROM last_old
    WHERE last_old.position IS NOT NULL
),
pruned AS (
    DELETE FROM events USING last_old WHERE events.position <= last_old.position RETURNING 1
)
SELECT count(*) AS number FROM pruned

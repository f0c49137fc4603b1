-- Releases a reservation whose bytes were never written. The commit does not wait for the disk: if
-- it is lost in a crash, the reservation expires.
WITH relaxed AS MATERIALIZED (
    SELECT set_config('synchronous_commit', 'off', true) AS setting
)
DELETE FROM blobs USING relaxed
WHERE blobs.id = %(id)s::uuid AND blobs.state = 'pending' AND relaxed.setting = 'off'

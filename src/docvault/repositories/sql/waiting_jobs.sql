-- By task: how many jobs are not done, and the age of the oldest. A retried job keeps its age.
SELECT
    job.task_name AS name,
    count(*) AS number,
    greatest(extract(epoch FROM now() - min(coalesce(event.at, now()))), 0)::float8 AS seconds
FROM procrastinate_jobs AS job
LEFT JOIN procrastinate_events AS event ON event.job_id = job.id AND event.type = 'deferred'
WHERE job.status IN ('todo', 'doing')
GROUP BY job.task_name

"""The worker and its tasks. Jobs are committed with the rows they belong to."""

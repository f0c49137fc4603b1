"""What the worker does; jobs are committed with the rows they belong to."""

((SELECT count(*) FROM some_groups) <= {max_groups})

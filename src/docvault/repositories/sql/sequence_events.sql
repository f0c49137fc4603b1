SELECT sequence_events(%(batch)s::integer) AS given

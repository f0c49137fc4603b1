SELECT compare_gates(%(batch)s::integer) AS compared

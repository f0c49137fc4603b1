-- A hashed look-up. A join would be planned from an estimate of how many fact sets there are.
(fact_set_id IN ({matching_fact_sets})) IS TRUE

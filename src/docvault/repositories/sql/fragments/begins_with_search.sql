-- Whether {searched_column} begins with the search. A range instead of LIKE, with its ends in
-- subqueries: both are computed before the first row, and the plan is the same whether the planner
-- knows the value or not. The end is longer than any searched text and made of the last character.
{searched_column} BETWEEN (SELECT lower(%(search)s::text))
    AND (SELECT lower(%(search)s::text) || repeat(chr(1114111), 1000))

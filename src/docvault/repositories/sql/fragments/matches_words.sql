-- Whether the search begins at a word of `lower_name`. The first condition is implied by the second
-- and is checked much faster.
(strpos(lower_name, (SELECT lower(%(search)s::text))) > 0
AND lower_name ~ (SELECT word_pattern(lower(%(search)s::text))))

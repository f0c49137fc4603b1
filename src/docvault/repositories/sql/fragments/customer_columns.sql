-- For CustomerRecord.
customers.id AS customer_id,
customers.external_id,
customers.pseudonym,
customers.name AS customer_name,
customers.email,
customers.tags,
customers.erasure_id,
customers.tokens_valid_from,
customers.created_at AS customer_created_at,
customers.updated_at AS customer_updated_at

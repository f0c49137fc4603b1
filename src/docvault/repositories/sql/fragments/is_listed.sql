-- Whether a document belongs to the rest of the list. As a sub-select, so that documents are read in
-- the order of the list: few customers are being erased.
current_version_id >= %(first_id)s::uuid AND current_version_id < %(before)s::uuid
    AND {is_since}
    AND (SELECT erasure_id IS NULL FROM customers WHERE customers.id = documents.customer_id)

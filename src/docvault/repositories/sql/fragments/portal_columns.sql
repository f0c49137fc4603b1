-- For PortalCustomerRecord. As sub-selects: the planner knows that they have one row each, and would
-- take the table, which autovacuum never analyses, for one of hundreds.
(SELECT section_enabled FROM portal_settings) AS section_enabled,
(SELECT gate_enabled FROM portal_settings) AS gate_enabled

-- For PortalCustomerRecord. As sub-selects, which are named after their column: the planner knows that
-- they have one row each, and would expect hundreds of the table, which autovacuum never analyses.
(SELECT section_enabled FROM portal_settings),
(SELECT gate_enabled FROM portal_settings),
(SELECT customer_may_delete FROM portal_settings)

-- The single row of settings, for PortalSettings.
SELECT
    section_enabled, gate_enabled, customer_may_delete,
    introduction_format, introduction_source, introduction_html
FROM portal_settings

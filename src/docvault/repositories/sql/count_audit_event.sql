-- Adds an event, or counts one more occurrence of it.
{new_audit_event}
ON CONFLICT (id) DO UPDATE SET times = audit_events.times + 1

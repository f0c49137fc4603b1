SELECT log, oldest, last AS latest FROM event_log

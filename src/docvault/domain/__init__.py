"""Domain objects and rules, without I/O."""

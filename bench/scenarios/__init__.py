"""One scenario a file, named after its row of targets."""

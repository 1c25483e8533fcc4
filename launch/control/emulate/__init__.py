"""trainctl emulate: a job of several clusters on one machine."""

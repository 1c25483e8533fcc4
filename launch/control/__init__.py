"""The parts of trainctl."""

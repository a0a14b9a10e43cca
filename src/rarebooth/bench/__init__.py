"""The benchmark: a plan's jobs are run once each, recorded, and made into tables."""

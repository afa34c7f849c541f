"""The report on a sweep: one HTML page, its figures and its tables."""

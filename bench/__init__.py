"""Measurements: ``make bench``. Figures with what they were measured on; growth and ratios can fail, seconds never."""

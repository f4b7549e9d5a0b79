"""Results: their form, comparison, report and plots."""

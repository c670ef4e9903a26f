"""The report: what its page says (data, detection), how it is drawn (pictures, charts) and written (page)."""

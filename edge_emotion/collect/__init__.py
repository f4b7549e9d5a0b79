"""The collector: takes events from a broker and stores each of them once, in PostgreSQL or a DuckDB file."""

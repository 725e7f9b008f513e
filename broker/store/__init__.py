"""Rows: SQL only. Functions take the connection of a transaction that the caller opened."""

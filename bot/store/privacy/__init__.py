"""A member's data in the database: export, erasure, retention."""

"""What the operator reads over HTTP: health and metrics. Read-only, off by default."""

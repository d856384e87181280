"""The charts: their documents and schemas, what they render to, and whether a cluster would take it."""

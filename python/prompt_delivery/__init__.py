"""Tools for releases of the project: tags, notes, charts and the audit of dependencies."""

"""What only a release of the project needs: tags, notes, charts and the audit of dependencies."""

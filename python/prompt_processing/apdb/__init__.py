"""Access to the APDB: reading, writing, versions and administration."""

"""What is published, and under which names: tags, labels and notes of containers and releases.

Only the standard library is needed, so that a fresh machine can run it without installing anything
(`requirements` and `recorded_versions.installed_schemas`, which look at installed packages, apart).
"""

"""Testers: they announce and upload raws as the telescope and its image writer would."""

"""Testers, which announce visits and upload raws as the telescope and its image writer do."""

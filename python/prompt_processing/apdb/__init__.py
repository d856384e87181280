"""Everything that speaks to an APDB."""

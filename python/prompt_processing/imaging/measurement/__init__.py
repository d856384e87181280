"""Detection and measurement of DiaSources on a difference image."""

"""Association of DiaSources with DiaObjects and solar-system objects; forced photometry; standard columns."""

"""Associate DiaSources with DiaObjects and solar-system objects, and measure forced fluxes."""

"""The commands of `prompt calibrations`."""

"""Values files of a site's Phalanx applications, rewritten for the charts of this project."""

"""What the network sees of a series: running features, and the covariates beside them."""

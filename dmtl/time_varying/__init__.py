"""Time-varying graphs: which links of the base graph are in use in a round."""

"""Tables and figures. They format what the analysis returns, and compute nothing."""

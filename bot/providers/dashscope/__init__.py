"""Alibaba Model Studio, called DashScope: the first party of the model, asked directly."""

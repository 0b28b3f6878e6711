"""Analyses: of a data set or a proxy, without victims."""

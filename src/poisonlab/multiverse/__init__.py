"""A multiverse: what becomes of claims under every combination of the choices that their source leaves open.

`grid` says which combinations, `running` trains and attacks the victims of some, `judging` judges the claims on each,
and `verdicts` on all of them together (Steegen et al., 2016; Simonsohn et al., 2020).
"""

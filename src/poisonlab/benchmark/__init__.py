"""How fast the engines and attacks are, beside what a user would pick instead: `make benchmark`.

Every measurement is a process of its own, and the contestants of a workload take turns, so that a machine that becomes
slower hits all of them. `measure` runs them. `contestants` names them: those of `training`, `attacking` and
`differentiating`, timed by `rates`. `report` writes table and figure.
"""

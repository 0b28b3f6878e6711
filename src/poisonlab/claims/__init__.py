"""Published claims, judged by code from the result tables.

`config/claims.yaml` says beforehand what is measured, where, and with which margins and least n (`registration`). A *kind* turns tables
into evidence (`kinds`, `evidence`), `judge` alone turns evidence into a verdict (`verdicts`), and the scorecard shows them. The rules that
all claims share stand at the top of `config/claims.yaml`.
"""

from poisonlab.claims.registration import Claim, Part, Place, load_claims
from poisonlab.claims.scorecard import VERDICTS, write_scorecard
from poisonlab.claims.verdicts import COLUMNS, judge

__all__ = ["COLUMNS", "VERDICTS", "Claim", "Part", "Place", "judge", "load_claims", "write_scorecard"]

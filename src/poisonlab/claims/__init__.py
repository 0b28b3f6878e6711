"""Published claims, judged by code from the result tables.

A file of claims says beforehand what is measured, where, and with which margins and least n (`registration`): which
victims (`selectors`), what is said of them (`relations`), and of their mean, every one or a percentile (`quantifiers`).
`judge` alone turns the evidence into a verdict (`verdicts`), which `documents` show. The rules that all claims
share stand at the top of `studies/<study>/claims.yaml`.
"""

from poisonlab.claims.registration import Claim, Part, Place, load_claims
from poisonlab.claims.verdicts import COLUMNS, VERDICTS, judge, with_own_shown

__all__ = ["COLUMNS", "VERDICTS", "Claim", "Part", "Place", "judge", "load_claims", "with_own_shown"]

"""One page of everything: what was found, every claim, its figures beside it, every victim. It loads nothing."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from poisonlab.claims import VERDICTS
from poisonlab.claims.verdicts import NOT_PUBLISHED
from poisonlab.documents.claim_rows import MIXED, ClaimRow
from poisonlab.documents.page import Picture, outcome
from poisonlab.documents.victims import packed, packed_json

FINDINGS = 10  # lines that the page begins with
TELLING = ("refuted", "reproduced", "shown", "depends", "inconclusive")  # verdicts, the most telling first
WIDTH = 1200  # pixels of an embedded figure: sharp in half a wide screen, and on a phone
QUALITY = 65  # of WebP: lines and letters stay clean
MOST_EMBEDDED = 1_800_000  # letters of all embedded figures; those that come later are links to their files
VEGA_LITE = "6.4"


@dataclass(frozen=True)
class Study:
    """What the page says of one study.

    Attributes:
        page: link to its own page.
        findings: numbers of claims, the most telling first.
        pictures: file of a figure as PNG → the figure.
        folder: link to the folder of its figures.
    """

    name: str
    title: str
    page: str
    findings: Sequence[int]
    pictures: Mapping[str, Picture]
    folder: str


@dataclass(frozen=True)
class Shown:
    """A figure on the page: linked, and inside it where there is room."""

    heading: str
    anchor: str
    link: str
    image: str
    size: tuple[int, int] | None
    first: str
    rest: str
    rows: Sequence[ClaimRow]


@dataclass(frozen=True)
class Tab:
    """Results of one source: the archive, or the reader's own run.

    Attributes:
        note: where they come from.
        rows: of every claim.
        embed: whether figures are inside the page, or links to their files.
        victims: as `victims.victim_columns` gives them.
    """

    name: str
    note: str
    studies: Sequence[Study]
    rows: Sequence[ClaimRow]
    embed: bool = True
    victims: Sequence[Mapping[str, Any]] = field(default_factory=list)
    every: int = 1


def index_page(tabs: Sequence[Tab], templates: str | Path) -> str:
    """Write the page as HTML.

    Args:
        tabs: the first is shown first.
        templates: folder of index.html.j2, index.css and index.js.

    Returns:
        HTML that needs nothing but itself; where the files of pages and figures lie beside it, its links reach them.
        The same tabs give the same letters.
    """
    import jinja2

    folder = Path(templates)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    several = len(tabs) > 1
    victims = [{**one, "tab": tab.name if several else ""} for tab in tabs for one in tab.victims]
    style, code = (
        jinja2.utils.markupsafe.Markup((folder / name).read_text("utf-8")) for name in ("index.css", "index.js")
    )
    prepared = [_prepared(tab) for tab in tabs]
    found = [one["table"] for tab in prepared for one in tab["findings"]]
    return environment.get_template("index.html.j2").render(
        tabs=prepared,
        not_published=NOT_PUBLISHED,
        first=found[0] if found else "",
        victims_note=_victims_note(tabs),
        css=style,
        js=code,
        data=packed_json(victims) if victims else "",
        engine=packed(_engine()) if victims else "",
    )


def _engine() -> str:
    """Vega, Vega-Lite and vega-embed as one script."""
    import vl_convert

    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE))


def _victims_note(tabs: Sequence[Tab]) -> str:
    count = sum(len(one["group"]) for tab in tabs for one in tab.victims)
    every = max(tab.every for tab in tabs)
    sample = "" if every == 1 else f" These are every {every}. one of each experiment, so that the page stays small."
    return f"{count:,} of them are here.".replace(",", " ") + sample


def _prepared(tab: Tab) -> dict[str, Any]:
    """What the template shows of a tab."""
    by_study = {study.name: [row for row in tab.rows if row.study == study.name] for study in tab.studies}
    room = MOST_EMBEDDED
    pictures: list[Shown] = []
    for study in tab.studies:
        for file, picture in study.pictures.items():
            rows = [row for row in by_study[study.name] if row.number in picture.claims]
            image, size = "", None
            if tab.embed and rows:
                image, size = embedded(file)
            if len(image) > room:
                image, size = "", None
            room -= len(image)
            pictures.append(_shown(study, picture, rows, image, size))
    present = {name for row in tab.rows for name in row.counts}
    by_claim: dict[str, list[Shown]] = {}
    for shown in pictures:
        for row in shown.rows:
            by_claim.setdefault(row.anchor, []).append(shown)
    return {
        "name": tab.name,
        "note": tab.note,
        "rows": tab.rows,
        "findings": [_finding(row, statement) for row, statement in first_findings(tab.studies, by_study)],
        "studies": [
            {"name": study.name, "title": study.title, "page": study.page, "balance": balance(by_study[study.name])}
            for study in tab.studies
        ],
        "verdicts": [*(name for name in VERDICTS if name in present), *sorted(present - set(VERDICTS))],
        "pictures": pictures,
        "further": [shown for shown in pictures if not shown.rows],
        "shown": lambda row: by_claim.get(row.anchor, []),
    }


def first_findings(
    studies: Sequence[Study], rows: Mapping[str, Sequence[ClaimRow]], most: int = FINDINGS
) -> list[tuple[ClaimRow, str]]:
    """The most telling judged claims, each with one of its statements: by turns one of each study, then in the order of
    the studies. Of a claim the statement that some place refutes comes first, then one that some place shows. Claims
    that are open everywhere wait until those of all studies are listed.
    """
    queues = []
    for study in studies:
        own = [_telling(row) for number in study.findings for row in rows[study.name] if row.number == number]
        queues.append(sorted(filter(None, own), key=lambda found: found[2]))
    turns = [(queue[turn][2], turn, place) for place, queue in enumerate(queues) for turn in range(len(queue))]
    chosen = sorted(sorted(turns)[:most], key=lambda key: (key[2], key[1]))
    return [queues[place][turn][:2] for _, turn, place in chosen]


def _telling(row: ClaimRow) -> tuple[ClaimRow, str, bool] | None:
    """The statement of a claim that tells most, and whether it is open everywhere; none where none was judged."""
    ranks = {
        statement: min(TELLING.index(part["verdict"]) for part in parts if part["verdict"] in TELLING)
        for statement, parts in row.entries.items()
        if any(part["verdict"] in TELLING for part in parts)
    }
    if not ranks:
        return None
    statement = min(ranks, key=lambda one: ranks[one])
    return row, statement, TELLING[ranks[statement]] == "inconclusive"


def _finding(row: ClaimRow, statement: str) -> dict[str, Any]:
    parts = row.entries[statement]
    judged = [part for part in parts if part["verdict"] != "not run"]
    words = "; ".join(outcome(judged, len(parts))).replace(" × ", "\u00a0×\u00a0")
    return {"anchor": row.anchor, "statement": statement, "words": words, "table": judged[0]["tables"][0]}


def balance(rows: Sequence[ClaimRow]) -> str:
    """How many claims have which verdict: "27 claims: 12 reproduced, 3 refuted, 12 not run"."""
    verdicts = [row.verdict for row in rows]
    names = dict.fromkeys([*VERDICTS, MIXED, *verdicts])
    words = [f"{verdicts.count(name)} {name}" for name in names if name in verdicts]
    return f"{len(rows)} claims: {', '.join(words)}" if rows else "no claims"


def _shown(study: Study, picture: Picture, rows: Sequence[ClaimRow], image: str, size: tuple[int, int] | None) -> Shown:
    first, _, rest = picture.caption.strip().replace("**", "").partition(". ")
    link = f"{study.folder}/{picture.name}.svg"
    return Shown(
        picture.heading,
        f"figure-{study.name}-{picture.name}",
        link,
        image or link,
        size,
        first.rstrip(".") + ".",
        rest,
        rows,
    )


def embedded(file: str | Path) -> tuple[str, tuple[int, int]]:
    """A picture as the address of an image that holds it, at most `WIDTH` pixels wide, and its size."""
    from PIL import Image

    with Image.open(file) as opened:
        picture = opened.convert("RGB")
    scale = min(1.0, WIDTH / picture.width)
    size = round(picture.width * scale), round(picture.height * scale)
    buffer = io.BytesIO()
    picture.resize(size, Image.Resampling.LANCZOS).save(buffer, "WEBP", quality=QUALITY, method=6)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii"), size

"""The page of an audit: one file that needs no other."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np

from poisonlab.audit.answer import ADVERSARIAL, NARROW, NATURAL, SELECTIONS, Answer, class_named, named
from poisonlab.audit.study import WAYS
from poisonlab.figures.style import DPI

FIGURES = ("budgets", "radii", "defences", "detected")
PIXELS = 125  # of a screen for an inch of a figure
MOST_COLUMNS = 8  # of a table's row that are shown


def page(answer: Answer, rests_on: list[str], pairs: list[dict[str, Any]], templates: Path) -> str:
    """Write the page as HTML; the same tables give the same letters."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    choices, classes = answer.choices, answer.facts.classes
    budgets = [
        [SELECTIONS[selection], *(named(answer.harmed(selection, budget)) for budget in choices.budgets)]
        for selection in SELECTIONS
    ]
    radii = [
        [
            "no wrong labels" if selection == "clean" else f"{choices.budget} {SELECTIONS[selection]}",
            *(named(answer.harmed(selection, epsilon=epsilon)) for epsilon in choices.epsilons),
        ]
        for selection in ("clean", *SELECTIONS)
    ]
    ways = [
        [
            words,
            *(
                named(answer.defended(selection, way, column))
                for column in (ADVERSARIAL, NATURAL)
                for selection in ("clean", *SELECTIONS)
            ),
        ]
        for way, words in {"plain": "nothing", **{way: WAYS[way] for way in choices.ways}}.items()
    ]
    checks = [
        [
            words,
            *(f"{100 * answer.found(selection, check).value:.0f} %" for selection in SELECTIONS),
            *(answer.looked_at(selection, check) or "more than 1000" for selection in SELECTIONS),
        ]
        for check, words in {
            "cleanlab": "cleanlab, out of fold",
            "neighbours": "labels of the 10 nearest neighbours",
        }.items()
    ]
    return environment.get_template("audit.html.j2").render(
        title=answer.study.removeprefix("audit_").replace("_", " "),
        sentences=answer.sentences(),
        rests_on=rests_on,
        budgets={"head": ["chosen as", *map(str, choices.budgets)], "rows": budgets},
        buckets=[(words, named(one)) for words, one in answer.buckets()],
        radii={"head": ["training labels", *(f"ε = {epsilon:g}" for epsilon in choices.epsilons)], "rows": radii},
        ways=ways,
        checks=checks,
        flagged=[(words, answer.flagged(selection)) for selection, words in SELECTIONS.items()],
        pairs=[
            (class_named(classes[one["source"]]), class_named(classes[one["target"]]), f"{one['left']:.2f}")
            for one in pairs[:10]
        ],
        points=[
            (one.index, one.steps, _picture(one.image), list(one.values.items())[:MOST_COLUMNS])
            for one in answer.points()
        ],
        source=answer.source,
        tested=answer.tested,
        target=answer.target,
        worst=SELECTIONS[answer.worst],
        budget=choices.budget,
        epsilon=f"{choices.epsilon:g}",
        narrow=f"{100 * NARROW:g}",
        figures={name: figure for name in FIGURES if (figure := _figure(answer, name))},
    )


def _figure(answer: Answer, name: str) -> dict[str, str]:
    """A figure as data, with its caption and its width on a screen; nothing where it was not drawn."""
    from PIL import Image

    file = answer.folder / "figures" / answer.study / f"{name}.png"
    if not file.is_file():
        return {}
    caption = file.with_suffix(".txt").read_text(encoding="utf-8") if file.with_suffix(".txt").is_file() else ""
    finding, _, rest = caption.removeprefix("**").partition("** ")
    with Image.open(file) as picture:
        width = round(picture.width / DPI * PIXELS)
    return {"image": _data("image/png", file.read_bytes()), "finding": finding, "caption": rest, "width": str(width)}


def _picture(image: np.ndarray | None) -> str:
    if image is None:
        return ""
    from PIL import Image

    stored = io.BytesIO()
    Image.fromarray(image).save(stored, "PNG")
    return _data("image/png", stored.getvalue())


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"

"""Table and figure of a benchmark: `python -m poisonlab.benchmark.report archive/benchmark.json docs`."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from poisonlab.figures import save, style
from poisonlab.results import storage

Row = Mapping[str, Any]
STEADY = 0.8  # a machine whose slowest round reaches this share of its fastest (a choice)


def _number(value: float) -> str:
    """Three significant digits and a unit: 12.3, 4.56k, 7.89M, 1.2G, 1.03T."""
    for unit, name in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * unit:  # or three digits would round to a thousand of the next lower one
            return f"{value / unit:.3g}{name}"
    return f"{value:.3g}"


def table(content: Mapping[str, Any]) -> str:
    """Rates, ratios and fractions of the peak as a Markdown table."""
    lines = [
        "| workload | who | rate | ratio (rounds) | asked | of the peak |",
        "|---|---|---|---|---|---|",
    ]
    for row in content["rows"]:
        ratio = asked = share = ""
        if "ratio" in row:
            rounds = ", ".join(f"{ratio:.2f}" for ratio in row["ratios"])
            ratio = f"**{row['ratio']:.2f}×** ({rounds})"
        if row["at_least"]:
            asked = f"≥ {row['at_least']:g}×"
        if "peak_share" in row:
            share = f"{row['peak_share']:.0%}"
            # A bar in the machine's own terms: it may ask for more than this processor can do.
            asked += f" ({row['peak_share'] * row['at_least'] / row['ratio']:.0%})" if asked else ""
        workers = "default threads" if not row["workers"] else f"{row['workers']} × 1 thread"
        # A peak is what the machine reaches at its best.
        rate = f"{_number(max(row['rates']) if row['workload'] == 'peak' else row['rate'])} {row['unit']}/s"
        lines.append(f"| {row['workload']} | {row['name']} ({workers}) | {rate} | {ratio} | {asked} | {share} |")
    return "\n".join(lines)


def _missed(content: Mapping[str, Any]) -> str:
    """Which of the ratios asked for were not reached, in a sentence."""
    asked = [row for row in content["rows"] if row["at_least"]]
    missed = [
        f"{row['workload']}, {row['name'].removeprefix('poisonlab, ')}"
        for row in asked
        if row["ratio"] < row["at_least"]
    ]
    return f"Ratios reached: {len(asked) - len(missed)} of {len(asked)} asked for" + (
        f"; not: {'; '.join(missed)}." if missed else "."
    )


def _notes(content: Mapping[str, Any]) -> str:
    """What there is to say about single workloads, a paragraph for each sentence."""
    notes = content.get("notes", {})
    return "".join(
        f"\n\n{'; '.join(workload for workload in notes if notes[workload] == note)}: {note}"
        for note in dict.fromkeys(notes.values())
    )


def _fooled(content: Mapping[str, Any]) -> str:
    """How many of the points the attacks fool, in brackets."""
    shares = [f"{share:.1%} in '{workload.removeprefix('PGD, ')}'" for workload, share in content["fooled"].items()]
    return f" (fooled or misclassified anyway: {', '.join(shares)})" if shares else ""


def page(content: Mapping[str, Any], figure: str) -> str:
    """The page of the documentation."""
    machine = content["machine"]
    rounds = {row["name"]: row["rates"] for row in content["rows"] if row["workload"] == "peak"}
    peaks = {name: max(rates) for name, rates in rounds.items()}
    slowest = min(rounds["float32"])
    swung = (
        f"\nThe machine's speed swung: the slowest of the {content['rounds']} rounds reached {_number(slowest)} FLOP/s where the fastest reached "
        f"{_number(peaks['float32'])}, so that\nshares are rough."
        if slowest < STEADY * peaks["float32"]
        else ""
    )
    rounded = (
        ""
        if machine["bfloat16"]
        else "\nThis processor does not compute in bfloat16: those rows round products and multiply in float32."
    )
    return f"""# Benchmark

Made by `make benchmark` on {machine["cores"]} cores ({machine["instructions"]}), torch {machine["torch"]}, on the processor alone; nothing
was measured on a GPU. Each measurement is a process of its own; the contestants take turns, {content["rounds"]} rounds, and the table gives medians, ratios
round by round. Peers run at torch's default number of threads, poisonlab as the pipeline runs it: one thread per worker, one worker per core where the row says so. "Of the peak"
is the arithmetic that training steps take as they are usually done, as a share of the most that large matrix products reached in the same run ({_number(peaks["float32"])} FLOP/s in float32,
{_number(peaks["bfloat16"])} FLOP/s in bfloat16); in brackets, the share that the ratio asked for would take. Above 100 %: poisonlab leaves out arithmetic that is
counted here. Images are scikit-learn's digits, resized.{rounded}{swung}

{table(content)}

{_missed(content)}{_notes(content)}

![Ratios, and cost against work]({figure})

Left: ratio to the peer, a dot per round, a line at the ratio that the project asks of itself. Middle: seconds per victim against the number of
victims of a chunk, medians; a chunk of one also pays for what is compiled or loaded when it is first used. Right: peak memory of one worker; what grows is the weights of the finished victims, kept until the chunk is written.

## What each row does

| workload | peer | poisonlab |
|---|---|---|
| train … | a module, a DataLoader, Adam; resident tensors and `vmap` beside it | the `loop` engine: resident uint8 images, channels_last, 3 × 3 convolutions that are pooled by Winograd's minimal filtering (16 products for a window's four places instead of 36), pooling and ReLU in the same sweep over memory, gradients of a pooled convolution from one place in four with sums kept in registers, one fused Adam step, oneDNN matrix products where they are exact, freed memory kept, denormals flushed |
| train 256 MLPs | one after the other, full batches of 64 points, 200 epochs | the `stacked` engine: batched matrix products, backward pass written out |
| 256 hypergradients | automatic differentiation through 100 unrolled steps of logistic regression, 64 points × 16 features | closed-form sweep of all problems at once |
| hypergradient, … | torchopt, one problem at a time, for all features of the poisons and ln λ, in double precision: `MetaSGD` unrolled for 100 steps, or `custom_root` with conjugate gradients at a minimum by L-BFGS; 64 training points, 8 of them poisons, × 16 features, or 512 and 17 × 785 | `reverse`: the closed-form sweep, with fewer points than features by products with their XXᵀ; `implicit`: Newton's method and the factorised Hessian, more digits than the peer's five. Problems are taken together as far as they fit into a core's cache: small ones share the cost of a call, of the large ones each is bound by its own matrix products. One thread on either side; × 64 is of that many problems at once |
| adversarial training | the plain loop on resident tensors, images moved by torchattacks' PGD, 10 steps | the `loop` engine with the objective `adversarial`, the same steps |
| PGD | torchattacks, 20 steps, and the pass for its verdict | active set: one pass gives verdict and gradient, fooled points leave{_fooled(content)} |
| adversarial paths | 60 steps for every point | active set |
"""


def draw(content: Mapping[str, Any]) -> Figure:
    """Ratios; seconds per victim against victims; peak memory against victims."""
    figure = Figure(figsize=(style.PAGE, 3.6))
    figure.set_layout_engine("constrained")
    ratios, cost, memory = figure.subplots(1, 3, width_ratios=(1.2, 1, 1))
    compared = [row for row in content["rows"] if "ratio" in row]
    for place, row in enumerate(reversed(compared)):
        ratios.plot(row["ratios"], [place] * len(row["ratios"]), ".", color=style.BLUE, markersize=5, alpha=0.7)
        if row["at_least"]:
            ratios.plot([row["at_least"]] * 2, [place - 0.35, place + 0.35], color=style.VERMILLION, linewidth=1.2)
    names = [f"{row['workload']}{row['name'].removeprefix('poisonlab')}" for row in reversed(compared)]
    ratios.set_yticks(range(len(names)), names, fontsize=style.TINY)
    ratios.set_xscale("log")
    ratios.axvline(1, color=style.GREY, linewidth=0.6)
    ratios.set_xlabel("times faster than the peer")
    _scaling(cost, content["scaling"], lambda row: 1 / row["rate"])
    cost.set_ylabel("seconds per victim")
    cost.set_yscale("log")
    _scaling(memory, content["scaling"], lambda row: row["memory"] / 2**20)
    memory.set_ylabel("peak memory of a worker (MiB)")
    memory.set_ylim(0, memory.get_ylim()[1] * 1.05)
    memory.legend(fontsize=style.TINY, loc="lower right", handlelength=1.2, borderpad=0)
    return figure


def _scaling(axes: Any, rows: Sequence[Row], value: Any) -> None:
    marks = {"chunk of strided_linear": (style.BLUE, "o"), "chunk of MLPs": (style.ORANGE, "s")}
    for workload, (color, marker) in marks.items():
        for workers, line in ((1, "-"), (2, "--")):
            own = [row for row in rows if row["workload"] == workload and row["workers"] == workers]
            label = f"{workload.removeprefix('chunk of ')}, {workers} worker{'s'[: workers - 1]}"
            victims = [row["arguments"]["victims"] for row in own]
            axes.plot(victims, [value(row) for row in own], line, color=color, marker=marker, markersize=3, label=label)
    axes.set_xscale("log", base=4)
    axes.set_xlabel("victims in the chunk")


def main() -> None:
    """Write `benchmark.md` and `figures/benchmark.svg` and `.png` into a folder."""
    source, folder = Path(sys.argv[1]), Path(sys.argv[2])
    content = json.loads(source.read_text())
    with style.paper():
        figure = draw(content)
    target = folder / "figures" / "benchmark"
    target.parent.mkdir(parents=True, exist_ok=True)
    save(figure, target.with_suffix(".svg"), target.with_suffix(".png"))
    with storage.atomic(folder / "benchmark.md") as file:
        file.write_text(page(content, "figures/benchmark.png"))


if __name__ == "__main__":
    main()

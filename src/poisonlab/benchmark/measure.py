"""Run the contestants in turns and collect their rates.

`python -m poisonlab.benchmark.measure` runs everything; with a contestant and its arguments as JSON it is one worker.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from poisonlab.errors import InputError
from poisonlab.results import storage

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Entry:
    """One contestant at one workload.

    Attributes:
        call, arguments: function of `contestants` that makes it, and its arguments.
        workers: processes at once, each with one thread; 0 is one process with torch's own choice of threads.
        versus: name of the peer that the ratio is taken against; None for peers.
        at_least: the ratio that the project asks of itself, where it does.
        flop: per unit of work, where the fraction of the peak makes sense.
    """

    workload: str
    name: str
    call: str
    arguments: Mapping[str, Any]
    unit: str
    workers: int = 1
    versus: str | None = None
    at_least: float | None = None
    flop: float | None = None
    precision: str = "float32"


# Networks of one training step each: shape, images in an epoch here, FLOP per image, ratios asked in float32 and
# bfloat16.
NETWORKS: dict[str, tuple[tuple[int, ...], int, float, float | None, float | None]] = {
    "pooled": ((1, 28, 28), 6144, 6.82e6, None, None),
    "conv_pool": ((1, 28, 28), 3072, 71.6e6, 1.7, 3.1),
    "small_cnn": ((3, 32, 32), 3072, 60.3e6, 1.6, 2.7),
    "strided_linear": ((1, 28, 28), 15360, 2.70e6, 3.5, 4.0),
}
LOOP, RESIDENT, VMAP, OURS = "DataLoader loop", "resident tensors", "torch.func vmap", "poisonlab"


def entries() -> list[Entry]:
    """Everything that is measured."""
    found = [
        Entry("peak", precision, "peak", {"precision": precision}, "FLOP", workers=_cores())
        for precision in ("float32", "bfloat16")
    ]
    for name, (shape, n, flop, *asked) in NETWORKS.items():
        workload = f"train {name}"
        data = {"name": name, "shape": shape, "n": n}
        for peer, call in ((LOOP, "dataloader_loop"), (RESIDENT, "resident_loop"), (VMAP, "vmap_ensemble")):
            found.append(Entry(workload, peer, call, data, "images", workers=0, flop=flop))
        for precision, least in zip(("float32", "bfloat16"), asked, strict=True):
            found.append(
                Entry(
                    workload, f"{OURS}, {precision}", "loop_engine", {**data, "precision": precision}, "images",
                    _cores(), LOOP, least, flop, precision,
                )
            )  # fmt: skip
    found += [
        Entry("train 256 MLPs", "sequential loop", "sequential_mlps", {}, "victims", workers=0),
        Entry("train 256 MLPs", VMAP, "vmap_mlps", {"victims": 256}, "victims", workers=0),
        Entry("train 256 MLPs", OURS, "stacked_engine", {"victims": 256}, "victims", _cores(), "sequential loop", 12),
        Entry("256 hypergradients", "sequential autograd", "sequential_hypergradients", {}, "problems", workers=0),
        Entry("256 hypergradients", OURS, "swept_hypergradients", {"count": 256}, "problems", _cores(),
              "sequential autograd", 75),
    ]  # fmt: skip
    # One thread on either side: a problem's matrices are too small to share.
    for size, features, count in (("small", 16, 256), ("wide", 785, 64)):
        workload = f"hypergradient, d = {features}"
        for method, peer in (("reverse", "torchopt, unrolled"), ("implicit", "torchopt, implicit")):
            data = {"size": size, "method": method}
            found.append(Entry(workload, peer, "torchopt_hypergradients", data, "problems"))
            found += [
                Entry(
                    workload, f"{OURS}, {method} × {number}",
                    "own_hypergradients", {**data, "count": number}, "problems", versus=peer, at_least=least,
                    precision="float64",
                )
                for number, least in ((1, None), (count, 20))
            ]  # fmt: skip
    for name, n, least in (("pooled", 768, 2.0), ("small_cnn", 384, 2.0)):
        data = {"name": name, "shape": NETWORKS[name][0], "n": n}
        workload = f"adversarial training, {name}"
        found.append(Entry(workload, "torchattacks in a loop", "torchattacks_loop", data, "images", workers=0))
        found += [
            Entry(
                workload, f"{OURS}, {precision}", "adversarial_engine", {**data, "precision": precision}, "images",
                _cores(), "torchattacks in a loop", least, precision=precision,
            )
            for precision in ("float32", "bfloat16")
        ]  # fmt: skip
    attacked = {"name": "pooled", "shape": (1, 28, 28)}
    for regime, epsilon, least in (("hardly any point fooled", 0.001, 1.8), ("nearly all fooled", 0.5, 6.0)):
        arguments = {**attacked, "epsilon": epsilon}
        workload = f"PGD, {regime}"
        found.append(Entry(workload, "torchattacks", "torchattacks_pgd", arguments, "point-steps", workers=0))
        found.append(Entry(workload, OURS, "active_set_pgd", arguments, "point-steps", _cores(), "torchattacks", least))
    arguments = {**attacked, "step": 0.02}
    found.append(Entry("adversarial paths", "60 fixed steps", "fixed_paths", arguments, "points", workers=0))
    found.append(
        Entry("adversarial paths", OURS, "active_set_paths", arguments, "points", _cores(), "60 fixed steps", 5.0)
    )
    return found


def scaling() -> list[Entry]:
    """Cost against work: the same victims in growing numbers, with one and two workers."""
    data = {"shape": (1, 28, 28), "n": 1536}
    found = [
        Entry(
            "chunk of strided_linear", f"{victims} victims", "chunk",
            {"name": "strided_linear", "victims": victims, **data}, "victims", workers,
        )
        for workers in (1, 2)
        for victims in (1, 4, 16, 64)
    ]  # fmt: skip
    found += [
        Entry(
            "chunk of MLPs",
            f"{victims} victims",
            "stacked_engine",
            {"victims": victims, "once": True},
            "victims",
            workers,
        )
        for workers in (1, 2)
        for victims in (1, 16, 64, 256, 1024, 4096)
    ]
    return found


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class Result:
    """Rates of an entry, one per round: units per second of all workers together; peak memory of one worker in
    bytes.
    """

    rates: list[float] = field(default_factory=list)
    memory: int = 0

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)


def measure(entry: Entry, seconds: float) -> tuple[float, int]:
    """Run one entry once: units per second of all its workers together, and the peak memory of one in bytes."""
    environment = {key: value for key, value in os.environ.items() if key not in THREAD_VARIABLES}
    if entry.workers:
        environment |= dict.fromkeys(THREAD_VARIABLES, "1")
    task = json.dumps({"call": entry.call, "arguments": dict(entry.arguments), "seconds": seconds})
    command = [sys.executable, "-m", "poisonlab.benchmark.measure", "--worker", task]
    workers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(max(entry.workers, 1))
    ]
    for worker in workers:
        assert worker.stdout is not None
        if worker.stdout.readline() != "ready\n":
            raise RuntimeError(f"the worker of '{entry.name}' at '{entry.workload}' has failed; its message is above")
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    answers = [json.loads(worker.communicate()[0]) for worker in workers]
    return sum(answer["rate"] for answer in answers), max(answer["memory"] for answer in answers)


def _work(task: Mapping[str, Any]) -> None:
    """Be a worker: get ready, say so, wait for the word, work, answer."""
    from poisonlab.benchmark import contestants, rates

    rates.SECONDS = task["seconds"]
    arguments = {key: tuple(value) if isinstance(value, list) else value for key, value in task["arguments"].items()}

    def ready() -> None:
        print("ready", flush=True)
        sys.stdin.readline()

    rate = getattr(contestants, task["call"])(**arguments)(ready)
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
    print(json.dumps({"rate": rate, "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}))


def run(chosen: Sequence[Entry], rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Let the entries take turns, `rounds` times; one row per entry."""
    results = [Result() for _ in chosen]
    for number in range(rounds):
        for entry, result in zip(chosen, results, strict=True):
            rate, memory = measure(entry, seconds)
            result.rates.append(rate)
            result.memory = max(result.memory, memory)
            print(
                f"round {number + 1} of {rounds}: {entry.workload}, {entry.name}: {rate:.4g} {entry.unit}/s", flush=True
            )
    by_name = {(entry.workload, entry.name): result for entry, result in zip(chosen, results, strict=True)}
    rows = []
    for entry, result in zip(chosen, results, strict=True):
        row: dict[str, Any] = {
            "workload": entry.workload,
            "name": entry.name,
            "arguments": dict(entry.arguments),
            "unit": entry.unit,
            "workers": entry.workers,
            "rates": result.rates,
            "rate": result.rate,
            "memory": result.memory,
            "at_least": entry.at_least,
        }
        if entry.versus:
            # Round by round, so that a slow minute of the machine is in both.
            peer = by_name[entry.workload, entry.versus]
            ratios = [own / other for own, other in zip(result.rates, peer.rates, strict=True)]
            row |= {"versus": entry.versus, "ratios": ratios, "ratio": statistics.median(ratios)}
        if entry.flop:
            # The highest of all rounds; a processor without bfloat16 computes it in float32.
            peak = max(rate for precision in {"float32", entry.precision} for rate in by_name["peak", precision].rates)
            row["peak_share"] = result.rate * entry.flop / peak
        rows.append(row)
    return rows


def merged(content: Mapping[str, Any], earlier: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """What was measured now, and of an earlier run the other workloads.

    Raises:
        InputError: the earlier run was on another machine, or of another number of rounds.
    """
    for key in ("machine", "rounds"):
        if content[key] != earlier[key]:
            raise InputError(
                f"{key} of '{path}' is {earlier[key]}, of this run {content[key]}; only equal ones are merged: "
                "measure everything anew, without --merge"
            )
    order = list(dict.fromkeys(entry.workload for entry in [*entries(), *scaling()]))
    measured = {row["workload"] for row in content["rows"]}
    notes = {name: note for name, note in earlier.get("notes", {}).items() if name not in measured}
    both = {**content, "notes": notes | content["notes"], "fooled": earlier["fooled"] | content["fooled"]}
    for name in ("rows", "scaling"):
        new = {row["workload"] for row in content[name]}
        rows = [*content[name], *(row for row in earlier[name] if row["workload"] not in new)]
        known = [row for row in rows if row["workload"] in order]  # a workload that is gone is left out
        both[name] = sorted(known, key=lambda row: order.index(row["workload"]))
    return both


def main() -> None:
    """Measure, print the table and write results/benchmark.json."""
    parser = argparse.ArgumentParser(description="Compare the engines and attacks with what a user would pick instead.")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=3, help="times that every contestant runs; medians are reported")
    parser.add_argument("--seconds", type=float, default=2.0, help="least time of a measurement after warming up")
    parser.add_argument("--only", default="", help="workloads whose name contains this")
    parser.add_argument("--merge", action="store_true", help="keep the other workloads that the output file holds")
    parser.add_argument("--note", default="", help="a sentence of the page about these measurements, where one is due")
    parser.add_argument("--output", type=Path, default=Path("results/benchmark.json"))
    options = parser.parse_args()
    if options.worker:
        _work(json.loads(options.worker))
        return
    import torch

    from poisonlab.benchmark.contestants import fooled_share
    from poisonlab.benchmark.report import table
    from poisonlab.victims.precision import computes_bfloat16

    earlier = json.loads(options.output.read_text()) if options.merge else None
    chosen = [entry for entry in entries() if options.only in entry.workload]
    if earlier is None or any(entry.flop for entry in chosen):  # shares are of the peak in the same run
        chosen = [*(entry for entry in entries() if entry.workload == "peak" and entry not in chosen), *chosen]
    growing = [entry for entry in scaling() if options.only in entry.workload]
    content = {
        "machine": {
            "cores": _cores(),
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "bfloat16": computes_bfloat16(torch.device("cpu")),
            "torch": torch.__version__,
        },
        "rounds": options.rounds,
        "rows": run(chosen, options.rounds, options.seconds),
        "scaling": run(growing, options.rounds, options.seconds),
        "fooled": {
            entry.workload: fooled_share(**entry.arguments) for entry in chosen if entry.call == "active_set_pgd"
        },
        "notes": {entry.workload: options.note for entry in chosen if options.note},
    }  # fmt: skip
    if earlier is not None:
        content = merged(content, earlier, options.output)
    with storage.atomic(options.output) as file:
        file.write_text(json.dumps(content, indent=1) + "\n")
    print(table(content))


if __name__ == "__main__":
    main()

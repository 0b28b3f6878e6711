"""The benchmark: fair contestants, ratios round by round, a table that says what was measured."""

import json

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from poisonlab import models
from poisonlab.benchmark import contestants, differentiating, measure, report
from poisonlab.benchmark.measure import Entry
from poisonlab.benchmark.usual import Usual, as_usual
from poisonlab.errors import InputError
from poisonlab.models.hypergradients import hypergradients

PEAK = Entry("peak", "float32", "peak", {}, "FLOP")
PEER = Entry("walk", "slow", "none", {}, "miles", workers=0, flop=10)
OURS = Entry("walk", "fast", "none", {}, "miles", 2, "slow", 1.5, flop=10)


@pytest.fixture
def content(monkeypatch: pytest.MonkeyPatch) -> dict:
    """A benchmark with made-up rates: the machine is half as fast in the second round."""
    rates = {"float32": [1000.0, 500.0, 900.0], "slow": [10.0, 5.0, 12.0], "fast": [20.0, 10.0, 12.0]}
    left = {name: list(values) for name, values in rates.items()}
    monkeypatch.setattr(measure, "measure", lambda entry, seconds: (left[entry.name].pop(0), 3 << 20))
    machine = {"cores": 2, "instructions": "AVX", "bfloat16": True, "torch": "2"}
    rows = measure.run([PEAK, PEER, OURS], 3, 0.1)
    bfloat16 = {**rows[0], "name": "bfloat16"}
    return {"machine": machine, "rounds": 3, "rows": [*rows, bfloat16], "scaling": [], "fooled": {"PGD, walk": 0.125}}


def test_ratios_are_taken_within_a_round_and_the_median_is_reported(content: dict) -> None:
    peer, ours = content["rows"][1:3]
    assert "ratio" not in peer
    assert ours["ratios"] == [2.0, 2.0, 1.0]
    assert ours["ratio"] == 2.0
    assert ours["rate"] == 12.0
    assert ours["peak_share"] == pytest.approx(12 * 10 / 1000)  # of the fastest round's peak


def test_the_table_says_rate_ratio_and_what_was_asked(content: dict) -> None:
    row = next(line for line in report.table(content).splitlines() if "fast" in line)
    assert row == "| walk | fast (2 × 1 thread) | 12 miles/s | **2.00×** (2.00, 2.00, 1.00) | ≥ 1.5× (9%) | 12% |"
    assert "slow (default threads)" in report.table(content)
    assert report.table(content) in report.page(content, "figure.png")


@pytest.mark.parametrize(
    ("value", "written"), [(12.34, "12.3"), (999.6, "1k"), (4560, "4.56k"), (470e9, "470G"), (1.03e12, "1.03T")]
)
def test_numbers_have_three_digits_and_a_unit(value: float, written: str) -> None:
    assert report._number(value) == written


def test_the_page_says_which_ratios_were_not_reached(content: dict) -> None:
    assert "Ratios reached: 1 of 1 asked for." in report.page(content, "figure.png")
    content["rows"][2]["at_least"] = 2.5
    assert "Ratios reached: 0 of 1 asked for; not: walk, fast." in report.page(content, "figure.png")


def test_the_page_says_where_bfloat16_is_computed_in_float32(content: dict) -> None:
    sentence = "does not compute in bfloat16"
    assert sentence not in report.page(content, "figure.png")
    content["machine"]["bfloat16"] = False
    assert sentence in report.page(content, "figure.png")


def test_the_page_says_where_the_speed_of_the_machine_swung(content: dict) -> None:
    assert "the slowest of the 3 rounds reached 500 FLOP/s where the fastest reached 1k" in report.page(
        content, "figure.png"
    )
    for row in content["rows"]:
        if row["workload"] == "peak":
            row["rates"] = [1000.0, 850.0, 900.0]
    assert "swung" not in report.page(content, "figure.png")


def test_the_page_says_how_many_points_are_fooled(content: dict) -> None:
    assert "(fooled or misclassified anyway: 12.5% in 'walk')" in report.page(content, "figure.png")


def test_attacks_fool_nearly_all_points_or_hardly_any_as_their_workloads_say() -> None:
    shares = {
        entry.workload: contestants.fooled_share(**entry.arguments)
        for entry in measure.entries()
        if entry.call == "active_set_pgd"
    }
    assert shares["PGD, nearly all fooled"] > 0.95
    assert shares["PGD, hardly any point fooled"] < 0.1  # nearly all of them are misclassified without an attack


def test_every_entry_has_a_contestant_and_every_ratio_a_peer() -> None:
    entries = measure.entries()
    names = {(entry.workload, entry.name) for entry in entries}
    assert len(names) == len(entries)
    for entry in [*entries, *measure.scaling()]:
        assert callable(getattr(contestants, entry.call)(**entry.arguments))
        assert entry.versus is None or (entry.workload, entry.versus) in names


def test_workers_measure_and_answer() -> None:
    for entry in measure.entries():
        if entry.workload == "256 hypergradients":
            rate, memory = measure.measure(entry, 0.01)
            assert rate > 0
            assert memory > 50 << 20  # torch alone is more


def test_a_worker_that_fails_is_named() -> None:
    with pytest.raises(RuntimeError, match="'nobody' at 'nothing'"):
        measure.measure(Entry("nothing", "nobody", "no_such_contestant", {}, "x"), 0.1)


@pytest.mark.parametrize(
    ("name", "shape"), [("pooled", (1, 28, 28)), ("conv_pool", (1, 28, 28)), ("small_cnn", (3, 32, 32))]
)
def test_the_peers_network_is_the_same_function(name: str, shape: tuple[int, ...]) -> None:
    ours = models.build(name, shape, 10, seed=3).eval()
    usual = as_usual(ours, name, shape)
    images = torch.rand(5, *shape, generator=torch.Generator().manual_seed(0))
    assert sum(p.numel() for p in usual.parameters()) == sum(p.numel() for p in ours.parameters())
    # The sums of the linear layers run in another order, in single precision.
    torch.testing.assert_close(usual(images), ours(images), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", measure.NETWORKS)
def test_the_arithmetic_of_a_step_is_what_torch_counts(name: str) -> None:
    shape, _, flop, *_ = measure.NETWORKS[name]
    network = Usual(name, shape)
    with FlopCounterMode(display=False) as counter:
        network(torch.rand(2, *shape)).sum().backward()
    assert counter.get_total_flops() / 2 == pytest.approx(flop, rel=0.005)  # three digits


def test_workloads_that_were_measured_anew_take_the_place_of_their_rows(tmp_path, monkeypatch, capsys) -> None:
    output = tmp_path / "benchmark.json"
    monkeypatch.setattr(contestants, "fooled_share", lambda name, shape, epsilon: epsilon)

    def command(rate: float, *arguments: str) -> dict:
        measured: list[str] = []
        monkeypatch.setattr(measure, "measure", lambda entry, _: (measured.append(entry.workload) or rate, 3 << 20))
        monkeypatch.setattr("sys.argv", ["measure", "--output", str(output), *arguments])
        measure.main()
        return {**json.loads(output.read_text()), "measured": set(measured)}

    before = command(2.0, "--rounds", "1")
    after = command(5.0, "--rounds", "1", "--only", "hypergradient,", "--merge", "--note", "Late.")
    assert "\n\nhypergradient, d = 16; hypergradient, d = 785: Late.\n" in report.page(after, "figure.png")
    assert after["measured"] == {"hypergradient, d = 16", "hypergradient, d = 785"}
    assert [(row["workload"], row["name"]) for row in after["rows"]] == [
        (row["workload"], row["name"]) for row in before["rows"]
    ]
    for row in after["rows"]:
        assert row["rate"] == (5.0 if row["workload"] in after["measured"] else 2.0)
    assert (after["scaling"], after["fooled"]) == (before["scaling"], before["fooled"])
    assert command(5.0, "--rounds", "1", "--only", "d = 16", "--merge")["notes"] == {"hypergradient, d = 785": "Late."}
    assert "peak" in command(5.0, "--rounds", "1", "--only", "train pooled", "--merge")["measured"]  # for its share
    with pytest.raises(InputError, match=r"rounds of '.*' is 1, of this run 2"):
        command(5.0, "--rounds", "2", "--only", "hypergradient,", "--merge")


def test_the_command_writes_what_the_report_reads(tmp_path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(measure, "measure", lambda entry, seconds: (2.0, 3 << 20))
    monkeypatch.setattr(contestants, "fooled_share", lambda name, shape, epsilon: epsilon)
    monkeypatch.setattr("sys.argv", ["measure", "--rounds", "1", "--output", str(tmp_path / "benchmark.json")])
    measure.main()
    assert "| train conv_pool |" in capsys.readouterr().out
    assert json.loads((tmp_path / "benchmark.json").read_text())["rounds"] == 1
    monkeypatch.setattr("sys.argv", ["report", str(tmp_path / "benchmark.json"), str(tmp_path)])
    report.main()
    assert "![Ratios" in (tmp_path / "benchmark.md").read_text()
    assert {file.name for file in (tmp_path / "figures").iterdir()} == {"benchmark.svg", "benchmark.png"}


@pytest.mark.filterwarnings("ignore:We've integrated functorch:FutureWarning")  # torchopt calls it by its old name
@pytest.mark.parametrize("size", differentiating.SIZES)
def test_torchopt_finds_the_same_hypergradients(size: str) -> None:
    one, poisons = differentiating.problems(size, 1), differentiating.SIZES[size].poisons
    rate = differentiating.step_length(one)
    peers = {
        # A hundred steps in double precision; where conjugate gradients and L-BFGS stop, five digits.
        "reverse": (differentiating.torchopt_unrolled(one, poisons, rate), 1e-12),
        "implicit": (differentiating.torchopt_implicit(one, poisons), 1e-5),
    }
    for method, ((by_points, by_penalty), allowed) in peers.items():
        found = hypergradients(one, poisons, method, differentiating.STEPS, rate)
        assert float((by_points - found.points[0]).norm() / found.points.norm()) < allowed, method
        assert float((by_penalty - found.log_penalty[0]).abs() / found.log_penalty.abs()) < allowed, method

"""Snakemake's logger `poisonlab`: one line with a bar and the time left, and above it what failed.

Snakemake finds it by the name of this package. Its own log, in `.snakemake/log`, stays complete.
"""

import logging
import shutil
import sys
import time
from collections import Counter, defaultdict
from typing import Any

from snakemake.logging import DefaultFormatter
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent
from tqdm import tqdm

SAID = (LogEvent.ERROR, LogEvent.JOB_ERROR, LogEvent.GROUP_ERROR)


class TimeLeft:
    """Seconds that a run still takes, by what its finished jobs took: those of a rule for the others of that rule."""

    def __init__(self, counts: dict[str, int], start: float) -> None:
        self._left, self._start = Counter(counts), start
        self._took: dict[str, list[float]] = defaultdict(list)

    def finished(self, rule: str, seconds: float) -> None:
        """Note a job."""
        self._left[rule] -= 1
        self._took[rule].append(seconds)

    def at(self, now: float) -> float | None:
        """Seconds left; None before anything is finished."""
        done = [one for own in self._took.values() for one in own]
        if not done or now <= self._start:
            return None
        mean = sum(done) / len(done)
        work = sum(
            count * (sum(own) / len(own) if (own := self._took.get(rule)) else mean)
            for rule, count in self._left.items()
            if count > 0
        )
        at_once = max(sum(done) / (now - self._start), 1.0)  # jobs at a time, so far
        return work / at_once


class LogHandler(LogHandlerBase):
    """A bar of the jobs of a run."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = True
    has_formatter = True
    needs_rulegraph = False

    def __post_init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._left: TimeLeft | None = None
        self._running: dict[int, tuple[str, float]] = {}
        self.setFormatter(DefaultFormatter(self.common_settings.quiet, self.common_settings.show_failed_logs))

    def emit(self, record: logging.LogRecord) -> None:
        """Take in an event of the run; write what a person must see."""
        event, now = getattr(record, "event", None), time.monotonic()
        if event == LogEvent.RUN_INFO and self._bar is None:
            counts = {rule: int(count) for rule, count in record.stats.items() if rule != "total"}  # type: ignore[attr-defined]
            self._left = TimeLeft(counts, now)
            self._bar = tqdm(
                total=sum(counts.values()),
                ncols=shutil.get_terminal_size().columns,
                bar_format="{percentage:3.0f}% |{bar}| {n}/{total}{postfix}",
            )
        elif event == LogEvent.JOB_INFO:
            self._running[record.jobid] = (record.rule_name, now)  # type: ignore[attr-defined]
        elif event == LogEvent.JOB_FINISHED and self._bar is not None:
            rule, start = self._running.pop(record.job_id, ("", now))  # type: ignore[attr-defined]
            assert self._left is not None
            self._left.finished(rule, now - start)
            self._bar.update()
        elif event in SAID or record.levelno >= logging.WARNING:
            tqdm.write(self.format(record), file=sys.stderr)
        if self._bar is not None:
            self._bar.set_postfix_str(self._postfix(now))

    def _postfix(self, now: float) -> str:
        left = self._left.at(now) if self._left else None
        words = [f"{tqdm.format_interval(left)} left"] if left is not None else []
        return ", ".join(words + sorted({rule for rule, _ in self._running.values()}))

    def close(self) -> None:
        """End the line."""
        if self._bar is not None:
            self._bar.close()
        super().close()

"""Doing one picture, or all of a folder: what fails is passed over and told in the end, what is finished recorded."""

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from uwct.cli.errors import FAULTS, sentence
from uwct.cli.manifest import Manifest
from uwct.cli.plan import Job, text_stream

Encoded = TypeVar("Encoded")


@dataclasses.dataclass(frozen=True)
class Report:
    """What is said of a picture: the sizes of what it was made from and of itself, for people, and its files' names."""

    before: str
    after: str
    written: str


def run(
    jobs: Sequence[Job],
    encode: Callable[[tuple[Path, ...]], Encoded],
    do: Callable[[Encoded, Job], Report],
    tell: Callable[[Job, Report, float], str],
    manifest: Manifest | None = None,
    resume: bool = False,
) -> list[str]:
    """Does every job, the styles of each group encoded once; returns what was wrong with those that failed.

    One job alone raises what is wrong with it. `tell` makes a line of what was done, which is printed.
    """
    alone, failures = len(jobs) == 1, []
    if manifest and resume:
        left = [job for job in jobs if not manifest.finished(job)]
        print(f"{len(jobs) - len(left)} of {len(jobs)} pictures are finished already", file=sys.stderr)
        jobs = left
    with tqdm(total=len(jobs), unit="picture", disable=len(jobs) <= 1) as bar:
        for paths, group in groupby(jobs, key=lambda job: job.styles):
            of_style = list(group)
            try:
                encoded = encode(paths)
            except FAULTS as fault:
                if alone:
                    raise
                failures.append(sentence(fault))
                bar.update(len(of_style))
                continue
            for job in of_style:
                start = time.perf_counter()
                try:
                    report = do(encoded, job)
                    if manifest:
                        manifest.add(job)
                except FAULTS as fault:
                    if alone:
                        raise
                    failures.append(f"{job.output}: {sentence(fault)}")
                else:
                    line = tell(job, report, time.perf_counter() - start)
                    tqdm.write(line, file=text_stream(job.output))
                bar.update()
    return failures


def record(job: Job, report: Report, seconds: float, **details: Any) -> str:
    """A line of JSON about a picture that is done."""
    found = {
        "content": str(job.content) if job.content else None,
        "content_size": report.before,
        "styles": [str(path) for path in job.styles],
        "output": str(job.output),
        "output_size": report.after,
        **details,
        "seconds": round(seconds, 3),
    }
    return json.dumps(found)

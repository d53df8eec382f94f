"""Data sets in random styles by Apache Beam, on one machine or on any cluster that Beam has a runner for.

Elements are the names of shards, never pixels: workers read and write whole shards, on a file system that all of them
see. A run that was killed goes on where it was. Needs `pip install "uwct[beam]"`.
"""

import os
import platform
from collections.abc import Iterator

import apache_beam as beam
from apache_beam.metrics.metric import Metrics
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import PCollection

from uwct.datasets.formats import Format
from uwct.datasets.stylizer import Stylizer
from uwct.datasets.work import Report, Work

NAMESPACE = "uwct"  # of the metrics


class Stylize(beam.PTransform[PCollection[str], PCollection[Report]]):
    """Names of shards to a `Report` of each.

    Beam's metrics in the namespace "uwct" are the counters `pictures`, `shards` (made), `skipped` (were there),
    `failed_pictures` and `failed_shards`, and the string sets `failures` and `styles` (that cannot be read).
    """

    def __init__(self, data: Format | Work, stylizer: Stylizer | None = None) -> None:
        """Of a data set and what paints it, or of both as `Work`."""
        super().__init__()
        if isinstance(data, Work):
            self.work = data
        elif stylizer is not None:
            self.work = Work(data, stylizer)
        else:
            raise ValueError("a data set needs a stylizer")

    def expand(self, shards: PCollection[str]) -> PCollection[Report]:
        return shards | beam.Reshuffle() | beam.ParDo(_Do(self.work))


class _Do(beam.DoFn):
    def __init__(self, work: Work) -> None:
        self.work = work

    def process(self, shard: str) -> Iterator[Report]:
        output = self.work.data.output
        report = self.work(shard, output / f"manifest-{platform.node()}-{os.getpid()}.jsonl")
        made = "failed_shards" if report.missing else "shards" if report.pictures or report.failures else "skipped"
        Metrics.counter(NAMESPACE, made).inc()
        Metrics.counter(NAMESPACE, "pictures").inc(report.pictures)
        Metrics.counter(NAMESPACE, "failed_pictures").inc(0 if report.missing else len(report.failures))
        for text in report.failures:
            Metrics.string_set(NAMESPACE, "failures").add(text)
        for text in report.styles:
            Metrics.string_set(NAMESPACE, "styles").add(text)
        yield report


def run(work: Work, shards: list[str], options: list[str]) -> list[str]:
    """Does shards by the runner that Beam's options name; returns what was wrong with styles, pictures and shards."""
    pipeline = beam.Pipeline(options=PipelineOptions(options, save_main_session=False))
    _ = pipeline | beam.Create(shards) | Stylize(work)
    result = pipeline.run()
    result.wait_until_finish()
    found = {one.key.metric.name: one.result or () for one in result.metrics().query()["string_sets"]}
    return [text for name in ("styles", "failures") for text in sorted(found.get(name, ()))]

"""`python stylize.py`, also installed as `uwct stylize`."""

from typing import TYPE_CHECKING

from uwct.cli.errors import fail_partly, one_sentence
from uwct.cli.limits import pixel_limit
from uwct.cli.options import Arguments
from uwct.cli.parsing import parsed
from uwct.cli.refining import shown_after

if TYPE_CHECKING:
    from uwct.cli.plan import Job

HELP = """Paint a photo in the manner of any picture.

The method, WCT (whitening and coloring transform), looks at both pictures through a pretrained image network. It
removes from the photo's features the mean and the correlations that make up its look (whitening), puts those of the
style picture in their place (coloring), and turns the features back into a picture. It can do so at five levels of the
network, from coarse (5: strokes and composition) to fine (1: colors). Nothing is trained per style. The presets use a
gentler relative of it (--transform monge, --shrinkage); --transform wct --shrinkage 0 is the method itself.

Examples:
  uwct stylize --content examples/photos/cat.jpg --style examples/styles/strokes.jpg --output cat.jpg
  uwct stylize --content examples/photos/cat.jpg --style examples/styles/strokes.jpg --preset gentle --size 256
  uwct stylize --content examples/photos/cat.jpg --style examples/styles/strokes.jpg --levels 4 --size 256"""


def main(argv: list[str] | None = None, prog: str = "stylize.py") -> None:
    """Stylizes, as the help says."""
    arguments: Arguments = parsed(Arguments, argv, prog, HELP)
    with one_sentence(), pixel_limit(arguments.max_megapixels):
        jobs = planned(arguments)
    from uwct.cli.cache import start_quickly  # with JAX, for which help and refusals do not wait
    from uwct.cli.painting import paint_all

    start_quickly()
    with one_sentence(), pixel_limit(arguments.max_megapixels):
        failures = paint_all(arguments, jobs)
    fail_partly(failures)


def planned(arguments: Arguments) -> "list[Job]":
    """What is to be painted; raises ValueError or OSError where that cannot be."""
    from uwct.cli.plan import plan  # with NumPy, for which help does not wait

    arguments.check()
    further: list[str] = []
    if arguments.steps:
        further += [f"level{level}" for level in arguments.look.resolve().levels]
        further += [f"refined{number}" for number in shown_after(arguments.refining.steps)]
    return plan(arguments.content, arguments.styles.paths, arguments.output, arguments.others, further)

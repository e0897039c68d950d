"""Plots as inline SVG: no script, no style attribute, and a sentence for who does not see them."""

from collections.abc import Sequence

from markupsafe import Markup

BAR = 4  # units between bars, one of them a gap
HEIGHT = 32


def bars(values: Sequence[int], sentence: str, *, height: int = HEIGHT) -> Markup:
    """A bar a value, the largest as high as the plot."""
    width = BAR * len(values)
    top = max(max(values, default=0), 1)
    shapes = [
        Markup('<rect x="{}" y="{}" width="{}" height="{}"/>').format(
            index * BAR, height - (size := max(2, round(height * value / top))), BAR - 1, size
        )
        for index, value in enumerate(values)
        if value
    ]
    return Markup(
        '<svg class="plot" viewBox="0 0 {} {}" role="img" aria-label="{}" preserveAspectRatio="none">'
        '<line class="axis" x1="0" x2="{}" y1="{}" y2="{}"/>{}</svg>'
    ).format(width, height + 1, sentence, width, height, height, Markup("").join(shapes))

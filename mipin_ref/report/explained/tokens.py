"""Tokens: the text, each token on a ground of its contribution's colour."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from mipin_ref.errors import InvalidData
from mipin_ref.report.explained.kind import Drawn, Kind, Marks
from mipin_ref.report.explained.scale import Scale, common_scale
from mipin_ref.report.explained.told import Array, ShownClass, ShownSample, Told
from mipin_ref.text import printable

STRONGEST = 0.5
"""How much colour lies behind a token at most, so that it can be read in light and dark."""
STYLE = (
    "body{margin:16px;background:#fafaf8;color:#1e1e22;font:15px/1.7 system-ui,sans-serif;max-width:80ch;"
    "overflow-wrap:anywhere}p{margin:0 0 8px}small{color:#5c5c63}"
)


class TokensKind(Kind):
    """What is shown of texts."""

    suffix = ".html"
    noun = "text"

    def check(self, sample: ShownSample) -> None:
        count = None if sample.tokens is None else len(sample.tokens)
        for one in sample.classes:
            if one.map.shape != (count,):
                raise InvalidData(
                    f"{sample.name}: needs tokens [T] and maps [T], not {count} and {list(one.map.shape)}"
                )

    def scale(self, sample: ShownSample) -> Scale:
        return common_scale([one.map for one in sample.classes])

    def row(self, sample: ShownSample, scale: Scale) -> Drawn:
        return Drawn(figures=[coloured(sample, one, scale) for one in sample.classes])

    def file(self, sample: ShownSample, told: Told, scale: Scale, marks: Marks) -> bytes:
        first = sample.classes[0]
        carried = "".join(f'<meta name="generator" content="{escape(value)}">' for value in marks.values())
        head, name = escape(printable(f"{first.name}  {first.score}")), escape(printable(sample.name))
        words = escape(printable(f"{told.method}, {told.tensor}, logit {first.logit:.4g}; {scale}"))
        return (
            f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">{carried}<title>{head}</title>'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<style>{STYLE}</style></head><body><p><b>{head}</b><br><bdi>{name}</bdi></p>"
            f"{coloured(sample, first, scale)}<p><small>{words}</small></p></body></html>\n"
        ).encode()


def coloured(sample: ShownSample, one: ShownClass, scale: Scale) -> str:
    """The tokens of a sample as marked text."""
    return marked(sample.tokens or (), sample.joints, one.map, scale)


def marked(tokens: Sequence[str], joints: Sequence[str] | None, values: Array, scale: Scale) -> str:
    """Tokens as marked text; pointing at one tells its contribution. joints: see ShownSample."""
    parts: list[str] = []
    between_all = [" "] * len(tokens) if joints is None else joints
    for joint, token, share, value in zip(between_all, tokens, scale.share(values), values, strict=True):
        colour = "255,0,0" if share > 0 else "0,64,255"
        ground = f"rgba({colour},{STRONGEST * abs(share):.3f})"
        shown = escape(printable(token, keep="\n\t"))
        between = escape(printable(joint, keep="\n\t")) if parts else ""
        parts.append(f'{between}<span style="background:{ground}" title="{value:+.3g}">{shown}</span>')
    return f'<p class="tokens" dir="auto">{"".join(parts)}</p>'

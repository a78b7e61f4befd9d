"""The model card: one page on what a weight file is, what it is worth, and what it must not be used for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from model.emotions import EmotionMix
from model.sampler import DEFAULT_TRUNCATION, FaceRequest, FaceSampler
from model.sheet import sheet
from model.weights import read_weights
from training.data.atomic import atomic_file
from training.headline import diversity, figures_table, headline, protocol_text, table

_PEOPLE: Final = range(8)
_LICENCES: Final = {"fer2013": "FER-2013 is for research, and so are these weights."}


def write_card(figures: Mapping[str, Any], sampler: FaceSampler, weights: Path, out: Path) -> None:
    """Write the card of the file ``weights`` to ``out`` (Markdown), and its picture beside it, as PNG.

    ``figures`` are those of :func:`training.evaluate.evaluate`, ``sampler`` draws from the same file.
    """
    picture = out.with_suffix(".png")
    mixes = [EmotionMix.parse(emotion, sampler.emotions) for emotion in sampler.emotions]
    rows = [list(sampler.sample([FaceRequest(mix, seed) for mix in mixes])) for seed in _PEOPLE]
    with atomic_file(picture) as file:
        sheet(rows, sampler.emotions, [f"seed {seed}" for seed in _PEOPLE]).save(file, "PNG")
    with atomic_file(out) as file:
        file.write(card_text(figures, weights, picture.name).encode())


def card_text(figures: Mapping[str, Any], weights: Path, picture: str) -> str:
    """Return the card's Markdown. ``picture`` shows eight people in all emotions."""
    file = read_weights(weights)
    config, card, data, recipe = file.config, file.card, file.card.get("data", {}), file.card.get("recipe", {})
    kind = f"{config.resolution}x{config.resolution} {'grey' if config.channels == 1 else 'colour'}"
    emotions = " ".join(f"`{emotion}`" for emotion in config.emotions)
    facts = [
        ["file", f"`{weights.name}`, {weights.stat().st_size:,} bytes; configuration and recipe are in its header"],
        ["content hash", f"`{file.sha256}`"],
        [
            "generator",
            f"{file.parameters:,} parameters; latent of {config.latent_dim}, emotion vector of {len(config.emotions)}",
        ],
        ["data", _data(data)],
        ["recipe", _recipe(card, recipe)],
        ["software", f"torch {card['torch']}" if "torch" in card else "not recorded"],
        *([["origin", card["origin"]]] if "origin" in card else []),
    ]
    return "\n".join(
        [
            f"# {weights.stem}: model card\n",
            f"![Eight people (rows) in {len(config.emotions)} emotions (columns)]({picture})\n",
            f"Faces of {kind} pixels: {emotions}. Seeds 0 to 7, not chosen, at truncation {DEFAULT_TRUNCATION:g}, the "
            "default.\n",
            table(["", ""], facts),
            "## Measured\n",
            figures_table(headline(figures)),
            protocol_text(figures),
            "## Limits\n",
            "\n".join(f"- {limit}" for limit in _limits(figures)) + "\n",
            "## What it must not be used for\n",
            "Judging what living people feel; passing a face off as a photograph or as a person; identity documents; "
            "anything that decides about people. Every picture drawn from these weights is marked as synthetic, and "
            f"the mark must stay. {_LICENCES.get(data.get('name', ''), '')}".rstrip()
            + "\n",
        ]
    )


def _data(data: Mapping[str, Any]) -> str:
    if not data:
        return "not recorded"
    text = f"`{data.get('name', data.get('file', 'unnamed'))}`"
    text += f", {data['split']} split" if "split" in data else ""
    text += f": {data['images']:,} faces" + (f" of {data['rows']:,} rows" if "rows" in data else "")
    skipped = "; ".join(f"{count:,} {reason}" for reason, count in sorted(data.get("skipped", {}).items()))
    return text + (f" (left out: {skipped})" if skipped else "") + f"; packed SHA-256 `{data['sha256'][:16]}`"


def _recipe(card: Mapping[str, Any], recipe: Mapping[str, Any]) -> str:
    parts = [f"`{recipe['name']}`"] if recipe else ["not recorded"]
    if card.get("images_seen"):
        parts.append(f"{card['images_seen']:,} images seen")
    if "training_minutes" in card:
        parts.append(f"{card['training_minutes']:g} minutes")
    if card.get("started_from"):
        parts.append(f"started from `{card['started_from']['sha256'][:16]}`")
    return ", ".join(parts)


def _limits(figures: Mapping[str, Any]) -> list[str]:
    """Return sentences on what is weak, the first of them from the figures."""
    emotions = list(figures["protocol"]["emotions"])
    judge = next(iter(figures["judges"].values()))
    scores = judge["emotion"]["generated"]
    limits = []
    for k in sorted(range(len(emotions)), key=lambda k: scores["recall"][k])[:3]:
        row = scores["confusion"][k]
        other = max((j for j in range(len(emotions)) if j != k), key=lambda j: row[j])
        limits.append(
            f"{emotions[k].capitalize()} is recognised in {scores['recall'][k]:.0%} of the faces "
            f"({judge['emotion']['real']['recall'][k]:.0%} of real ones); {row[other] / max(sum(row), 1):.0%} look "
            f"{emotions[other]}."
        )
    varied = [diversity(judge, emotion) for emotion in emotions]
    limits.append(
        f"Within an emotion, faces at truncation 1 vary {min(varied):.2f} to {max(varied):.2f} times as much as real "
        "ones; a lower truncation draws more ordinary faces, and fewer kinds of them."
    )
    if "detection" in figures:
        found = figures["detection"]
        limits.append(
            f"Some faces are malformed: a detector finds none in {1 - found['generated']:.0%} of the pictures (real "
            f"ones, with profiles and hands: {1 - found['real']:.0%})."
        )
    if "memorisation" in figures:
        copies = figures["memorisation"]
        limits.append(
            "The check for near-copies of training faces sees those that are mirrored, blurred, relit or slightly "
            "turned, but only half of those moved by two pixels both ways. Of the test faces, "
            f"{copies['near_copies']:.0%} are near-copies themselves and are left out of the comparison."
        )
    limits.append("An intensity above 1 goes beyond what was trained on.")
    limits.append(
        "The faces inherit their data's bias in age, gender, ethnicity and culture, and the labels are other people's "
        "opinion of a photograph, not what the person felt."
    )
    return limits

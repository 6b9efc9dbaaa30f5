"""`bsn bench`: rates of the compiled training and of its peers, as one JSON object or as a table."""

from __future__ import annotations

import sys

from bookkit.bench import contest
from bookkit.bench.reports import Report, header
from bookkit.data import load
from bookkit.settings import Settings
from bsn.errors import InputError

VERSIONS = ("numpy", "numba", "scipy", "tensorflow", "jax")
CHAPTER = "compiled: a chapter, 2 estimators x 3 rates"


def measure(dataset: str, rounds: int, steps: int, settings: Settings) -> Report:
    """Run the whole benchmark; lines on stderr tell what is running.

    Raises:
        InputError: data that cannot be had, or that have not ten classes.
    """
    data = load(dataset, settings.mnist_dir)
    if data.classes != 10:
        raise InputError(
            f"bench: {data.name} has {data.classes} classes; expected data of 10, as the peers have"
        )
    results, absent = contest.contest(data, rounds, steps, say)
    rates = {result["name"]: result["rate"] for result in results}
    jax = [rate for name, rate in rates.items() if name.startswith("JAX")]
    ratios = {"TF1-style session loop": rates[CHAPTER] / rates["TF1-style session loop"]}
    if jax:
        ratios["best JAX figure"] = rates[CHAPTER] / max(jax)
    measured = {"contestants": results, "not_installed": absent, "ratios": ratios}
    return header(data, rounds, steps, settings, VERSIONS) | measured


def table(report: Report) -> str:
    """Format the report for a reader at a terminal."""
    lines = [f"{'net-steps/s':>12}  {'lowest':>7}  {'highest':>7}  {'accuracy':>8}  {'MiB':>5}"]
    for result in sorted(report["contestants"], key=lambda result: result["rate"]):
        lines.append(
            f"{result['rate']:12,.0f}  {min(result['rates']):7,.0f}  {max(result['rates']):7,.0f}  "
            f"{result['accuracy']:8.4f}  {result['memory']:5,.0f}  {result['name']}"
        )
    for name, ratio in report["ratios"].items():
        lines.append(f"a chapter's six nets: {ratio:.1f} times the {name}")
    lines += [f"not installed, so not measured: {name}" for name in report["not_installed"]]
    return "\n".join(lines)


def say(line: str) -> None:
    """Tell on stderr what is running."""
    print(f"bsn: {line}", file=sys.stderr, flush=True)

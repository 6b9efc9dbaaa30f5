"""`bsn bench`: everything measured, as one JSON object or as a table."""

import platform
import sys
import time

from bookkit import environment
from bookkit.bench import contest
from bookkit.data import load
from bsn.errors import InputError

VERSIONS = ("numpy", "numba", "scipy", "tensorflow", "jax")
CHAPTER = "compiled: a chapter, 2 estimators x 3 rates"


def measure(dataset, rounds, steps, settings):
    """Run the whole benchmark; lines on stderr tell what is running."""
    data = load(dataset, settings.mnist_dir)  # what is wrong with it is said before anything starts
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
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": {
            "processor": environment.processor(),
            "threads": settings.threads,
            "system": platform.platform(),
        },
        "versions": environment.versions(VERSIONS),
        "dataset": data.name,
        "rounds": rounds,
        "steps": steps,
        "contestants": results,
        "not_installed": absent,
        "ratios": ratios,
    }


def table(report):
    """The report for a reader at a terminal."""
    lines = [f"{'net-steps/s':>12}  {'lowest':>7}  {'highest':>7}  {'accuracy':>8}  {'MiB':>5}"]
    for one in sorted(report["contestants"], key=lambda one: one["rate"]):
        lines.append(
            f"{one['rate']:12,.0f}  {min(one['rates']):7,.0f}  {max(one['rates']):7,.0f}  "
            f"{one['accuracy']:8.4f}  {one['memory']:5,.0f}  {one['name']}"
        )
    for name, ratio in report["ratios"].items():
        lines.append(f"a chapter's six nets: {ratio:.1f} times the {name}")
    lines += [f"not installed, so not measured: {name}" for name in report["not_installed"]]
    return "\n".join(lines)


def say(line):
    """Tell on stderr what is running."""
    print(f"bsn: {line}", file=sys.stderr, flush=True)

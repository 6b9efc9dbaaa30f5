"""Where the repository is on the web, and what the site says of that: buttons, a card, a sitemap."""

import concurrent.futures
import pathlib
import re
import subprocess
from collections.abc import Sequence
from typing import Any, NamedTuple

from bookkit.paths import BOOK, ROOT

CARD = "card.png"
SITEMAPS = "http://www.sitemaps.org/schemas/sitemap/0.9"  # the name of the format


class Origin(NamedTuple):
    """Where a checkout comes from on a public host: its web address, branch or commit, folder in it."""

    address: str
    branch: str
    folder: str


def origin() -> Origin | None:
    """Return where the checkout comes from, if that is a public host that can start its notebooks."""
    match = re.fullmatch(
        r"(?:https://|(?:ssh://)?git@)github\.com[/:]([\w.-]+/[\w.-]+?)(?:\.git)?/?",
        _git("config", "--get", "remote.origin.url"),
    )
    if not match:
        return None
    branch = _git("branch", "--show-current") or "main"
    if "/" in branch:  # in an address it would be taken for a folder
        branch = _git("rev-parse", "HEAD")
    return Origin(f"https://github.com/{match[1]}", branch, _git("rev-parse", "--show-prefix"))


def _git(*arguments: str) -> str:
    """Return what git says of this checkout, whoever owns it, or "" if it says nothing."""
    command = ["git", "-c", "safe.directory=*", "-C", str(ROOT), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, encoding="utf-8").stdout.strip()
    except OSError:  # there is no git
        return ""


def site_address(origin: Origin) -> str:
    """Return where GitHub Pages serves a repository's site."""
    owner, name = origin.address.split("/")[-2:]
    own = f"{owner}.github.io".lower()
    return f"https://{own}/" if name.lower() == own else f"https://{own}/{name}/"


def announce(
    config: dict[str, Any],
    origin: Origin,
    landing: Any,
    extra: pathlib.Path,
    template: concurrent.futures.Executor,
) -> None:
    """Add to a site's configuration what names its addresses: buttons, and what other sites read.

    Args:
        landing: the executed landing page, whose first figure is on the card; None if it was not run.
        extra: folder of further files of the site.
        template: a process in a build's own surroundings, which draws the card.
    """
    folder, address = f"{origin.folder}{BOOK.name}", site_address(origin)
    config["repository"] = {"url": origin.address, "branch": origin.branch, "path_to_book": folder}
    config["launch_buttons"] = {
        "notebook_interface": "jupyterlab",
        "colab_url": "https://colab.research.google.com",
    }
    if not origin.folder:  # Binder reads environment.yml at the repository's root only
        config["launch_buttons"]["binderhub_url"] = "https://mybinder.org"
    config["html"] |= {"use_repository_button": True, "use_issues_button": True}
    config["sphinx"]["extra_extensions"] += ["sphinxext.opengraph"]
    options: dict[str, Any] = {"html_baseurl": address, "ogp_site_url": address}
    options["ogp_social_cards"] = {"enable": False}
    outputs = [output for cell in landing.cells for output in cell.get("outputs", [])] if landing else []
    pictures = [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    if pictures:
        title, _, subtitle = config["title"].partition(", ")
        template.submit(_draw_card, title, subtitle, pictures[0], extra / CARD).result()
        options |= {"ogp_image": address + CARD, "ogp_image_alt": config["title"]}
    config["sphinx"]["config"] |= options


def _draw_card(title: str, subtitle: str, png: str, path: pathlib.Path) -> None:
    from bookkit.figures import card  # in the child alone

    card.draw(title, subtitle, png, path)


def write_sitemap(site: pathlib.Path, pages: Sequence[str], origin: Origin) -> None:
    """Write the file that tells search engines the site's pages."""
    urls = "".join(f"<url><loc>{site_address(origin)}{name}.html</loc></url>" for name in pages)
    header = '<?xml version="1.0" encoding="utf-8"?>'
    (site / "sitemap.xml").write_text(
        f'{header}<urlset xmlns="{SITEMAPS}">{urls}</urlset>\n', encoding="utf-8"
    )

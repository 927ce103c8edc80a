"""Every form of a revision's name, and what is said of the names that are none."""

from __future__ import annotations

import pytest

from ehg_migrate.errors import UsageError
from ehg_migrate.revisions.graph import Graph
from ehg_migrate.revisions.specs import resolve, resolve_all
from tests.unit.revisions.trees import graph_of, rev

RELEASES = {
    "v1": {"shared": ("ae1027a6acf",), "app": ("b1",), "elsewhere": ("zz",)},
    "gone": {"app": ("b0",)},
    "renamed": {"shared": ("ae1027a6acf",), "apps": ("b1", "b2"), "acme": ("zz",)},
    "moved": {"shared": ("ae1027a6acf",), "acme": ("ae1099999999",)},
}


@pytest.fixture(scope="module")
def graph() -> Graph:
    """shared: two revisions and a labelled line beside them; app: b1 and, of another base, b2; docs: two heads."""
    return graph_of(
        rev("ae1027a6acf", labels=["shared"]),
        rev("ae1099999999", "ae1027a6acf"),
        rev("contract1", "ae1027a6acf", labels=["contract"]),
        rev("b1", depends="ae1099999999", branch="app", labels=["app"]),
        rev("b2", depends="contract1", branch="app"),
        rev("d1", branch="docs"),
        rev("d2a", "d1", branch="docs"),
        rev("d2b", "d1", branch="docs"),
    )


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("heads", ("b1", "b2", "d2a", "d2b")),
        ("base", ()),
        ("shared@base", ()),
        ("b1", ("b1",)),
        (" b1 ", ("b1",)),
        ("ae1027a6acf", ("ae1027a6acf",)),
        ("ae102", ("ae1027a6acf",)),
        ("contract1", ("contract1",)),
        ("shared@ae102", ("ae1027a6acf",)),
        ("app@b1", ("b1",)),
        ("docs@heads", ("d2a", "d2b")),
        ("shared@heads", ("ae1099999999", "contract1")),
        ("contract@head", ("contract1",)),  # a label: what stands on the revision that declares it
        ("release:v1", ("ae1027a6acf", "b1")),  # branches that the target does not have are left out
        ("release:renamed", ("ae1027a6acf", "b1", "b2")),  # those whose folder has another name now are not
        ("release:moved", ("ae1027a6acf",)),  # what `shared` was then is what the release says of it
    ],
)
def test_a_name_stands_for_revisions(graph: Graph, spec: str, expected: tuple[str, ...]) -> None:
    """Ids and their beginnings, heads, labels, release points."""
    assert resolve(graph, spec, RELEASES) == expected


def test_several_names_are_added_up(graph: Graph) -> None:
    """Each revision once, sorted."""
    assert resolve_all(graph, ["docs@heads", "d2a", "b1"], {}) == ("b1", "d2a", "d2b")


def test_one_head_is_the_head() -> None:
    """`head` and `branch@head` are good where there is one."""
    graph = graph_of(rev("s1"), rev("s2", "s1"))
    assert resolve(graph, "head", {}) == resolve(graph, "shared@head", {}) == ("s2",)


def test_a_branch_that_ends_like_a_relative_name() -> None:
    """`eu-1` is no step back from `eu`."""
    with pytest.raises(UsageError, match=r"`eu-1` is a branch, not a revision\n  hint: write `eu-1@head`"):
        resolve(graph_of(rev("e1", branch="eu-1")), "eu-1", {})


_IDS = "hint: `ehg-migrate plan` and `ehg-migrate history TARGET` show the ids"
_RELATIVE = (
    "relative revisions mean something else on each target\n  hint: name the revision; `ehg-migrate status` shows them"
)
MISTAKES = {
    "+1": ("revision_spec", f"revision `+1`: {_RELATIVE}"),
    "-2": ("revision_spec", f"revision `-2`: {_RELATIVE}"),
    "shared@-1": ("revision_spec", f"revision `shared@-1`: {_RELATIVE}"),
    "ae102+1": ("revision_spec", f"revision `ae102+1`: {_RELATIVE}"),
    "ae10": (
        "revision_spec",
        "revision `ae10`: `ae10` begins 2 ids: ae1027a6acf, ae1099999999\n  hint: write more of the id",
    ),
    "ae1": ("no_such_revision", f"revision `ae1`: there is no revision `ae1` here\n  {_IDS}"),
    "nothing": ("no_such_revision", f"revision `nothing`: there is no revision `nothing` here\n  {_IDS}"),
    "": ("no_such_revision", f"revision ``: there is no revision `` here\n  {_IDS}"),
    "docs@b1": ("no_such_revision", f"revision `b1`: there is no revision `b1` here\n  {_IDS}"),
    "app": (
        "revision_spec",
        "revision `app`: `app` is a branch, not a revision\n  hint: write `app@head` for its newest revision",
    ),
    "contract": (
        "revision_spec",
        "revision `contract`: `contract` is a branch, not a revision\n"
        "  hint: write `contract@head` for its newest revision",
    ),
    "docs": (
        "revision_spec",
        "revision `docs`: `docs` is a branch, not a revision\n  hint: write `docs@head` for its newest revision",
    ),
    "docs@head": (
        "revision_spec",
        "revision `docs@head`: `docs@head` is not one revision but 2: `d2a`, `d2b`\n"
        "  hint: write `docs@heads`, or name one",
    ),
    "head": (
        "revision_spec",
        "revision `head`: `head` is not one revision but 4: `b1`, `b2`, `d2a`, `d2b`\n"
        "  hint: write `heads`, or name one",
    ),
    "crm@head": (
        "unknown_branch",
        "there is no branch `crm` here\n  hint: branches here: `shared`, `app`, `docs`",
    ),
    "@head": ("unknown_branch", "there is no branch `` here\n  hint: branches here: `shared`, `app`, `docs`"),
    "release:v2": (
        "unknown_release",
        "there is no release point `v2`\n  hint: known release points: `v1`, `gone`, `renamed`, `moved`",
    ),
    "release:gone": (
        "release_gone",
        "release point `gone` names revision `b0`, which is no longer in versions/\n"
        "  hint: restore the file, or record the release point anew",
    ),
}


@pytest.mark.parametrize("spec", MISTAKES)
def test_a_name_that_is_none_is_explained(graph: Graph, spec: str) -> None:
    """What is wrong with it, and what to write."""
    with pytest.raises(UsageError) as caught:
        resolve(graph, spec, RELEASES)
    assert ([p.code for p in caught.value.problems], str(caught.value)) == ([MISTAKES[spec][0]], MISTAKES[spec][1])


def test_without_release_points_that_is_said(graph: Graph) -> None:
    """`none` rather than an empty list."""
    with pytest.raises(UsageError, match="known release points: none"):
        resolve(graph, "release:v1", {})

"""Each rule with a tree that breaks it and one that does not, and what `lint_ignore` settles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from ehg_migrate.errors import Problem
from ehg_migrate.revisions.graph import Revision
from ehg_migrate.revisions.history import History
from ehg_migrate.revisions.lint import RULES, Findings, lint
from tests.support.counting import grows_with
from tests.unit.revisions.trees import rev

S1 = rev("s1", labels=["shared"])
S2 = rev("s2", "s1")
A1 = rev("a1", depends="s1", branch="app", labels=["app"])
APP = ("shared", "app")
CRM = ("shared", "crm", "app")


@dataclass(frozen=True)
class Case:
    """Revisions, the fleet's branch combinations, and the only finding there is, as text; none if empty."""

    revisions: tuple[Revision, ...]
    scopes: tuple[tuple[str, ...], ...] = (APP,)
    text: str = ""
    error: bool = False
    loose: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    odd: tuple[str, ...] = ()


def history(case: Case) -> History:
    """The case's versions/."""
    names = dict.fromkeys((*(r.branch for r in case.revisions), *case.folders))
    return History({n: tuple(r for r in case.revisions if r.branch == n) for n in names}, (), case.loose)


def findings(case: Case, *ignore: str) -> Findings:
    """What lint says of it; `app` and `app2` are targets."""
    return lint(history(case), case.scopes, frozenset({"app", "app2"}), frozenset(ignore), odd=case.odd)


def rule_of(name: str) -> str:
    """Its first word."""
    return name.partition(" ")[0]


BROKEN = {
    "no_version_locations": Case(
        (S1, A1),
        text="alembic.ini: [alembic]: stock `alembic` looks for revisions in the installed package, and writes new "
        "ones there\n  hint: write `version_locations = %(here)s/versions`, `recursive_version_locations = true` and "
        "`revision_environment = true`",
        odd=("no_version_locations",),
    ),
    "other_locations": Case(
        (S1, A1),
        text="alembic.ini: [alembic]: `version_locations` names a folder outside of versions/: no target gets the "
        "revisions in it\n  hint: move them into folders of versions/, and name only those (`ehg-migrate docs moving`)",
        odd=("other_locations",),
    ),
    "ignored_url": Case(
        (S1, A1),
        text="alembic.ini: [alembic]: nothing connects to this `sqlalchemy.url`, and a password in it can be read by "
        "all who have the file\n  hint: delete the line; addresses stand in targets/, which name where the "
        "secrets are",
        odd=("ignored_url",),
    ),
    "second_head": Case(
        (S1, S2, rev("s2b", "s1"), A1),
        text="versions/shared/s2b.py: branch `shared` has a second head: `versions/shared/s2.py` and "
        "`versions/shared/s2b.py` both continue revision `s1`\n"
        "  hint: merge them with `alembic merge -m WHY s2 s2b`, or set `down_revision` of one that no target has yet "
        "to the other",
    ),
    "second_head beside a merge": Case(
        (S1, S2, rev("s2b", "s1"), rev("x1", "s2"), rev("x2", "s2", labels=["x"]), rev("m", ["x1", "x2"]), A1),
        text="versions/shared/s2b.py: branch `shared` has a second head: `versions/shared/s2.py` and "
        "`versions/shared/s2b.py` both continue revision `s1`\n"
        "  hint: merge them with `alembic merge -m WHY m s2b`, or set `down_revision` of one that no target has yet "
        "to the other",
    ),
    "second_base": Case(
        (S1, rev("t1"), A1),
        text="versions/shared/t1.py: branch `shared` has 2 first revisions: `versions/shared/s1.py`, "
        "`versions/shared/t1.py`\n  hint: give each its own label if that is meant, else a `down_revision`",
    ),
    "no_label": Case(
        (S1, replace(A1, labels=())),
        text="versions/app/a1.py: branch `app` has no label, so stock Alembic does not know `app@head`\n"
        '  hint: write `branch_labels = ("app",)` in its first revision, unless a target has that: then it would be an '
        "`edited_file`; `lint_ignore = no_label` in alembic.ini is the way",
    ),
    "no_label of the first revision": Case(
        (S1, rev("a2", "z1", branch="app"), rev("z1", branch="app")),
        text="versions/app/z1.py: branch `app` has no label, so stock Alembic does not know `app@head`\n"
        '  hint: write `branch_labels = ("app",)` in its first revision, unless a target has that: then it would be an '
        "`edited_file`; `lint_ignore = no_label` in alembic.ini is the way",
    ),
    "long_id": Case(
        (S1, A1, rev("x" * 33, "a1", branch="app")),
        text=f"versions/app/{'x' * 33}.py: revision id `{'x' * 33}` has 33 characters; a version table made by stock "
        "Alembic holds 32\n  hint: shorten it before anybody applies it",
    ),
    "label_of_another": Case(
        (S1, A1, rev("b1", branch="app2", labels=["app"])),
        (APP, ("shared", "app2")),
        text="versions/app2/b1.py: `app@head` is branch `app` here, and `app2` with stock Alembic, by this label\n"
        '  hint: write `branch_labels = ("app2",)`, or another name that no branch has',
    ),
    "label_dependency": Case(
        (S1, S2, replace(A1, depends_on=("shared",))),
        text="versions/app/a1.py: `depends_on` names the label `shared`, which stands for its FIRST revision `s1`, not "
        "its head\n  hint: name the revision that is needed; write `s1` if the first is meant",
    ),
    "crossing_down_revision": Case(
        (S1, replace(A1, parents=("s1",), depends_on=())),
        text="versions/app/a1.py: `down_revision` of `a1` lies in another branch, so that branch's label spreads to "
        "this one\n  hint: use `down_revision = None` and `depends_on`",
    ),
    "redundant_parent": Case(
        (S1, S2, replace(A1, depends_on=()), rev("a2", "a1", depends=["s1", "s2"], branch="app")),
        text="versions/app/a2.py: revision `a2` names `s1`, which another of its parents needs already; stock Alembic "
        "stops there with a KeyError\n  hint: leave `s1` out",
    ),
    "loose_file": Case(
        (S1, A1),
        loose=("versions/x.py",),
        text="versions/x.py: the file lies in no branch, so no target gets it\n"
        "  hint: move it into a folder of versions/, such as versions/shared/",
    ),
    "same_id_in_branches": Case(
        (S1, A1, rev("a1", branch="app2", labels=["app2"], checksum="another")),
        (APP, ("shared", "app2")),
        text="versions/app2/a1.py: revision id `a1` is used in branch `app` (`versions/app/a1.py`) too\n"
        "  hint: rename one: with one id for two things, a database of the other branch cannot be recognised",
    ),
    "same_id_in_branches of a group that was split by copying": Case(
        (S1, A1, rev("a1", branch="app2", labels=["app2"])),
        (APP, ("shared", "app2")),
        text="versions/app2/a1.py: revision id `a1` is used in branch `app` (`versions/app/a1.py`) too\n"
        "  hint: keep it in one group that both list, and only what differs in groups of their own",
    ),
    "unused_branch": Case(
        (S1, A1),
        folders=("old",),
        text="versions/old: no target has this branch\n"
        "  hint: add it to a target's `branches`, name it as the target whose own it is, or delete the folder",
    ),
    "dependency_direction that all keep": Case(
        (rev("s1", depends="c1", labels=["shared"]), rev("c1", branch="crm", labels=["crm"])),
        (CRM,),
        text="versions/shared/s1.py: revision `s1` of branch `shared` needs `c1` of branch `crm`, which other targets "
        "need not have\n"
        "  hint: depend only toward a group and `shared`; move the revision to the more special branch",
    ),
    "revision_id_length": Case(
        (S1, A1, rev("y" * 256, branch="old", labels=["old"])),
        (APP, ("shared", "old")),
        error=True,
        text=f"versions/old/{'y' * 256}.py: revision id `{'y' * 40}...` has 256 characters\n  hint: shorten it",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_is_a_finding(name: str) -> None:
    """The only one, of the rule's name, with its place and its mend."""
    case, rule = BROKEN[name], rule_of(name)
    found = findings(case, *(["long_id"] if rule == "revision_id_length" else []))
    errors, warnings = ([(rule, case.text)], []) if case.error else ([], [(rule, case.text)])
    assert ([(p.code, str(p)) for p in found.errors], [(p.code, str(p)) for p in found.warnings]) == (errors, warnings)


@pytest.mark.parametrize("name", [n for n, c in BROKEN.items() if not c.error])
def test_a_warning_is_settled_by_its_rule(name: str) -> None:
    """By the name of the rule, and by no other name."""
    assert findings(BROKEN[name], rule_of(name)) == Findings((), ())


@pytest.mark.parametrize("name", [n for n, c in BROKEN.items() if c.error])
def test_an_error_is_not_settled(name: str) -> None:
    """The step would fail all the same."""
    found = findings(BROKEN[name], "long_id", rule_of(name)).errors
    assert [p.code for p in found] == ["unknown_rule", rule_of(name)]


WHOLE = {
    "plain": Case((S1, S2, A1)),
    "expand and contract": Case(
        (S1, rev("e1", "s1", labels=["expand"]), rev("c1", "s1", labels=["contract"]), rev("e2", "e1"), A1)
    ),
    "a labelled line beside the main one": Case((S1, S2, rev("x1", "s1", labels=["x"]), A1)),
    "merged": Case((S1, S2, rev("s2b", "s1"), rev("m", ["s2", "s2b"]), A1)),
    "merged later": Case((S1, S2, rev("s3", "s2"), rev("s2b", "s1"), rev("m", ["s3", "s2b"]), A1)),
    "two bases with labels": Case((S1, rev("t1", labels=["tenant"]), A1)),
    "dependencies toward groups and shared": Case(
        (S1, rev("c1", depends="s1", branch="crm", labels=["crm"]), replace(A1, depends_on=("c1",))), (CRM,)
    ),
    "a dependency that its own line needs already": Case((S1, A1, rev("a2", "a1", depends="s1", branch="app"))),
    "dependencies of one line": Case((S1, S2, replace(A1, depends_on=("s1", "s2")))),
    "an id of 32 characters": Case((S1, A1, rev("x" * 32, "a1", branch="app"))),
    "a dependency on an id that is a label elsewhere": Case((S1, S2, replace(A1, depends_on=("s2",)))),
    "a folder without revisions": Case((S1, A1), (APP, CRM), folders=("crm",)),
    "nothing": Case((), ()),
}


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_whole_has_no_finding(name: str) -> None:
    """Histories that people have on purpose."""
    assert findings(WHOLE[name]) == Findings((), ())


def test_a_dependency_that_a_target_lacks_is_an_error() -> None:
    """Said twice: what is missing, and that the direction is wrong; `lint_ignore` settles neither."""
    case = Case((rev("s1", depends="a1", labels=["shared"]), replace(A1, depends_on=())), (APP, ("shared", "app2")))
    found = findings(case, "dependency_direction")
    assert [str(p) for p in found.errors] == [
        "versions/shared/s1.py: `depends_on` of revision `s1` names `a1`, which is in none of the folders it is used "
        "with\n  hint: restore the missing file, or correct the name",
        "versions/shared/s1.py: revision `s1` of branch `shared` needs `a1` of branch `app`, which other targets do "
        "not have\n  hint: depend only toward a group and `shared`; move the revision to the more special branch",
    ]


def test_another_targets_branch_is_missing() -> None:
    """Two targets' own branches cannot depend on one another: the one never has the other's."""
    case = Case((S1, A1, rev("b1", depends="a1", branch="app2", labels=["app2"])), (APP, ("shared", "app2")))
    assert [p.code for p in findings(case).errors] == ["missing_revision"]


def test_every_rule_can_be_ignored_and_no_other() -> None:
    """`RULES` holds the rules of this table whose findings are warnings; another name is a mistake of alembic.ini."""
    assert {rule_of(name) for name, case in BROKEN.items() if not case.error} == RULES
    found = findings(Case((S1, A1)), "second_head", "revision_file", "seconds_head")
    assert [(p.code, p.message.split()[0], p.where) for p in found.errors] == [
        ("unknown_rule", "`revision_file`", "alembic.ini: [ehg_migrate] lint_ignore"),
        ("unknown_rule", "`seconds_head`", "alembic.ini: [ehg_migrate] lint_ignore"),
    ]


def test_problems_of_files_are_errors() -> None:
    """And stand first."""
    bad = Problem("revision_file", "m", "h", "versions/shared/bad.py")
    found = lint(History({"shared": (S1,)}, (bad,)), [("shared",)], frozenset(), frozenset())
    assert found.errors == (bad,)


def test_the_same_finding_is_said_once() -> None:
    """However many targets share it."""
    case = replace(BROKEN["second_head"], scopes=(APP, CRM, ("shared",)), folders=("crm",))
    assert [p.code for p in findings(case).warnings] == ["second_head"]


def test_names_of_rules_that_do_not_exist() -> None:
    """In alembic.ini or in a revision: an error that says what was meant."""
    tree = history(Case((replace(S1, allowed=(("effect:rewite", "why not"),)), A1)))
    found = lint(tree, [APP], frozenset({"app"}), frozenset({"effect:grante", "sql:any"}), ["effect:scann", "sql:any"])
    assert [(p.code, p.message, p.hint) for p in found.errors] == [
        ("unknown_rule", "`effect:grante` is no rule that can be ignored", "did you mean `effect:granted`?"),
        ("unknown_rule", "`effect:scann` is no rule that has a level of its own", "did you mean `effect:scan`?"),
        (
            "unknown_rule",
            "`lint_allow` names `effect:rewite`, which is no rule about what a step does",
            "did you mean `effect:rewrite`?",
        ),
    ]
    assert found.errors[2].where == "versions/shared/s1.py"


def test_the_same_id_in_many_branches() -> None:
    """Each target's own branch may begin with the same id: twice as many targets cost twice as much."""

    def linted(count: int) -> Callable[[], object]:
        branches = [f"own{n}" for n in range(count)]
        case = Case(tuple(rev("a1", branch=b, labels=[b]) for b in branches), tuple(("shared", b) for b in branches))
        return lambda: findings(case)

    assert grows_with(linted, 100) < 2.3


def test_many_merges() -> None:
    """Whether something merges two lines is asked for each pair of them; twice as many cost twice as much."""

    def linted(count: int) -> Callable[[], object]:
        revisions = [rev("m0", labels=["shared"])]
        for n in range(count):
            revisions += [rev(f"x{n}", f"m{n}"), rev(f"y{n}", f"m{n}"), rev(f"m{n + 1}", [f"x{n}", f"y{n}"])]
        case = Case(tuple(revisions), (("shared",),))
        assert not findings(case).warnings
        return lambda: findings(case)

    assert grows_with(linted, 50) < 2.3

import pytest

from prompt_delivery.audit import (
    NOT_ASKED,
    NOTHING_FOUND,
    SOMETHING_FOUND,
    main,
    problems_of,
    report,
)

HASH = "--hash=sha256:" + "0" * 64


def test_a_lock_file_with_versions_and_hashes_is_in_order():
    assert (
        problems_of(
            f"# made by a program\na==1.0 \\\n    {HASH} \\\n    {HASH}\nb[c]==2 ; x < 'y' \\\n {HASH}\n"
        )
        == []
    )


@pytest.mark.parametrize(
    ("lock", "word"),
    [
        ("", "no requirement"),
        (f"a>=1.0 {HASH}", "not pinned"),
        (f"a {HASH}", "not pinned"),
        ("a==1.0", "no hash"),
        ("a==1.0 --hash=md5:00", "no hash"),
        (f"a==1.0 {HASH}\nA==2.0 {HASH}", "twice"),
        (f"--index-url http://elsewhere\na==1.0 {HASH}", "option"),
        (f"a @ https://elsewhere/a.whl {HASH}", "not pinned"),
        (f"-e .\na==1.0 {HASH}", "option"),
    ],
)
def test_what_could_install_something_else_is_told(lock, word):
    (problem,) = problems_of(lock)
    assert word in problem


def test_the_projects_own_lock_file_is_in_order(pytestconfig, capsys):
    assert main(["--offline", "--lock", str(pytestconfig.rootpath / "requirements.lock")]) == NOTHING_FOUND
    assert "vulnerabilities are unknown" in capsys.readouterr().out


def test_packages_that_the_database_skipped_are_no_good_news():
    assert report([{"name": "a", "skip_reason": "not found"}]) == NOT_ASKED
    assert (
        report([{"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "x"}]) == NOT_ASKED
    )
    assert report([]) == NOT_ASKED


def test_advisories_are_told_with_what_mends_them(capsys):
    advisory = {"id": "PYSEC-1", "fix_versions": ["2"]}
    assert report([{"name": "a", "version": "1", "vulns": [advisory]}]) == SOMETHING_FOUND
    assert "a 1: PYSEC-1, fixed in 2" in capsys.readouterr().out


def test_nothing_found_needs_an_answer_for_all():
    assert report([{"name": "a", "version": "1", "vulns": []}]) == NOTHING_FOUND

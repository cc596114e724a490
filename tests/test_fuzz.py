"""`make fuzz` itself: it counts what passes, and doesn't let pass what it is there to find."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def fuzz(root, tmp_path):
    def run(*arguments):
        command = [sys.executable, root / "tests/fuzz/fuzz.py", "--kept", tmp_path / "kept", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        return done.returncode, done.stdout

    return run


def test_every_case_is_counted(fuzz):
    code, said = fuzz("--cases", 12, "--kind", "scores csv", "sheet tsv")
    rows = [line.split() for line in said.splitlines()[1:]]
    assert code == 0 and [row[-6] for row in rows] == ["12", "12", "24"], said
    for *_, cases, refused, read, findings, _, _ in rows:
        assert int(cases) == int(refused) + int(read) and findings == "0" and int(refused) > 0


def test_memory_above_the_bound_is_a_finding_that_is_kept(fuzz, tmp_path):
    code, said = fuzz("--kind", "png", "--only", 0, "--megabytes", 1)
    assert code == 1 and "finding: png-1-0" in said
    assert {"finding.json", "slide.tiff"} <= {path.name for path in (tmp_path / "kept/png-1-0").iterdir()}


@pytest.fixture
def child(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "tests/fuzz"))
    import child

    return child


def test_a_message_must_be_sentences(child):
    assert not child.find_fault("a.tiff: it is cut short; copy it again.\nDid you mean 'b'?")
    for wrong in ("no stop", "one.\nline without", "an \x1b[31m escape.", "x" * 2000 + "."):
        assert child.find_fault(wrong)


def test_whatever_isnt_told_in_one_is_a_finding(child, tmp_path):
    def fail(case):
        raise KeyError("x")

    end, why = child.try_reading(fail, tmp_path)
    assert end == "finding" and "Traceback" in why


@pytest.mark.parametrize(("body", "told"), [("while True: pass", "SIGXCPU"), ("import os; os.abort()", "SIGABRT")])
def test_a_hang_and_a_crash_are_told_and_the_next_case_is_read(root, tmp_path, monkeypatch, body, told):
    monkeypatch.syspath_prepend(str(root / "tests/fuzz"))
    import supervise

    # A child that reads undamaged cases and, for a case called "bad", does what the body says.
    (tmp_path / "child.py").write_text(
        "import sys; sys.path.insert(0, {!r}); import child, readers\n"
        "def read(case):\n    if case.name == 'bad':\n        exec({!r})\n"
        "readers.READERS['any'] = read; child.main()\n".format(str(root / "tests/fuzz"), body)
    )
    monkeypatch.setattr(supervise, "HERE", tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(root / "workflow"), os.environ.get("PYTHONPATH", "")]))
    with supervise.Reader("any", tmp_path, tmp_path, supervise.Bounds(0.5, 500)) as reader:
        assert told in reader.read(tmp_path / "bad")["why"]
        assert reader.read(tmp_path / "good")["end"] == "read"

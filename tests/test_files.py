"""Outputs are whole or absent; jobs end in sentences; a rule reruns when its code changes and only then."""

import errno
import hashlib
import logging
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from snakemake.iocontainers import InputFiles, Wildcards

import nephrospot
from nephrospot import fingerprint
from nephrospot.errors import InputError, Problems, did_you_mean
from nephrospot.files import list_paths, read_columns, read_json, sha256, whole, write_json
from nephrospot.job import collect_sentences, job


class TestWhole:
    def test_a_failure_leaves_what_stood_there(self, tmp_path):
        path = tmp_path / "out.txt"
        path.write_text("old")
        with pytest.raises(RuntimeError), whole(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError
        assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["out.txt"]

    @pytest.mark.parametrize("folder", [False, True])
    def test_success_replaces_it(self, tmp_path, folder):
        path = tmp_path / "out"
        for text in ("first", "second"):
            with whole(path) as temporary:
                if folder:
                    temporary.mkdir()
                    (temporary / text).write_text(text)
                else:
                    temporary.write_text(text)
        assert [p.name for p in path.iterdir()] == ["second"] if folder else path.read_text() == "second"

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
    def test_a_full_disk_is_told_in_a_sentence(self, tmp_path, number):
        with pytest.raises(InputError, match="the disk is full; free some space"), whole(tmp_path / "out") as temporary:
            temporary.write_text("half")
            raise OSError(number, "full")
        assert not list(tmp_path.iterdir())

    def test_a_really_full_disk(self, tmp_path):
        with pytest.raises(InputError, match="the disk is full"), whole(tmp_path / "out") as temporary:
            temporary.symlink_to("/dev/full")
            temporary.write_text("x" * 10)

    def test_json_keeps_numbers_and_turns_nan_to_null(self, tmp_path):
        write_json(tmp_path / "a.json", {"n": np.int64(3), "x": float("nan"), "list": (np.float32(0.5), "µ")})
        assert read_json(tmp_path / "a.json") == {"n": 3, "x": None, "list": [0.5, "µ"]}
        assert len(sha256(tmp_path / "a.json")) == 64

    def test_hashes_of_several_files(self, tmp_path):
        a, b = tmp_path / "a", tmp_path / "b"
        a.write_bytes(b"one")
        b.write_bytes(b"two")
        assert sha256(a) == sha256(str(a)) == sha256([a]) == hashlib.sha256(b"one").hexdigest()
        lines = b"\n".join(hashlib.sha256(content).hexdigest().encode() for content in (b"one", b"two"))
        assert sha256([a, b]) == hashlib.sha256(lines).hexdigest() != sha256([b, a]), "the order counts"
        assert list_paths(a) == list_paths(str(a)) == list_paths([a]) == [str(a)] and list_paths([]) == []


class TestErrors:
    def test_problems_are_told_once_and_together(self):
        problems = Problems()
        problems.add("a.")
        problems.add("a.")

        def fail():
            raise InputError("b.\nc.")

        assert problems.catch(fail) is None
        with pytest.raises(InputError, match=r"^a\.\nb\.\nc\.$"):
            problems.raise_if_any()

    def test_did_you_mean(self):
        assert did_you_mean("speces", ["species", "stain"]) == "did you mean 'species'?"
        assert did_you_mean("pt", ["PT", "DT"]) == "did you mean 'PT'?"
        assert did_you_mean("zzz", ["PT", "DT"]) == "the options are PT, DT."


class TestJob:
    @pytest.fixture(autouse=True)
    def keep_logging(self):
        root = logging.getLogger()
        handlers, level = root.handlers[:], root.level
        yield
        root.handlers, root.level = handlers, level

    def run(self, tmp_path, body):
        wildcards = Wildcards(fromdict={"run": "s"})
        snakemake = SimpleNamespace(
            log=[str(tmp_path / "logs/rule/s.log")],
            rule="rule",
            wildcards=wildcards,
            input=InputFiles(),
            output=[],
            config={},
        )
        with job(snakemake):
            body()

    def fail(self):
        raise InputError("one.\ntwo.")

    def test_a_mistake_ends_in_sentences_without_a_traceback(self, tmp_path, capsys):
        with pytest.raises(SystemExit) as end:
            self.run(tmp_path, self.fail)
        assert end.value.code == 1
        told = capsys.readouterr().err
        assert "can't go on: one." in told and "Traceback" not in told
        assert collect_sentences(tmp_path / "logs", since=0) == ["one.", "two."]
        assert collect_sentences(tmp_path / "logs", since=4e9) == [], "older failures are no news"

    def test_success_is_one_line_with_the_time(self, tmp_path, capsys):
        self.run(tmp_path, lambda: None)
        assert capsys.readouterr().err.startswith("rule s: done in ")


class TestFingerprint:
    @pytest.fixture
    def package(self, tmp_path, monkeypatch):
        folder = tmp_path / "nephrospot"
        (folder / "sub").mkdir(parents=True)
        (folder / "a.py").write_text("from nephrospot import b\nfrom nephrospot.sub import deep\n")
        (folder / "b.py").write_text("X = 1  # comment\n")
        (folder / "other.py").write_text("Y = 1\n")
        (folder / "sub/__init__.py").write_text("")
        (folder / "sub/deep.py").write_text("def f():\n    import nephrospot.late\n")
        (folder / "late.py").write_text("Z = 1\n")
        (tmp_path / "script.py").write_text("from nephrospot.a import something\n")
        monkeypatch.setattr(fingerprint, "PACKAGE", folder)
        return folder

    def version(self, package):
        for cached in (fingerprint._normalised, fingerprint._parsed, fingerprint._imports):
            cached.cache_clear()
        return fingerprint.code_version(package.parent / "script.py")

    @pytest.mark.parametrize("module", ["a.py", "b.py", "sub/deep.py", "late.py", "../script.py"])
    def test_a_change_in_anything_imported_counts(self, package, module):
        before = self.version(package)
        path = package / module
        path.write_text(path.read_text() + "NEW = 2\n")
        assert self.version(package) != before

    def test_other_modules_and_comments_do_not(self, package):
        before = self.version(package)
        (package / "other.py").write_text("Y = 2\n")
        (package / "b.py").write_text("# a better comment\n\nX = 1\n")
        assert self.version(package) == before

    def test_the_real_scripts_know_their_modules(self, root):
        names = {p.stem for p in fingerprint._imports(root / "scripts/predict_masks.py")}
        assert {"predict", "check", "job"} <= names
        assert nephrospot.__version__


def test_columns_that_are_wanted_and_there_are_read_as_pandas_would(tmp_path):
    table = pd.DataFrame({"b": ["x", None, ""], "a": [1.5, np.nan, 0.0], "n": [3, 1, 2], "type:a": [0.0, 0.5, 1.0]})
    table.to_parquet(tmp_path / "t.parquet", index=False)
    whole = pd.read_parquet(tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(read_columns(tmp_path / "t.parquet"), whole)
    found = read_columns(tmp_path / "t.parquet", {"n", "b", "elsewhere"}.__contains__)
    pd.testing.assert_frame_equal(found, whole[["b", "n"]])

"""FASTQ files by sample, and FastQC's verdicts on them."""

import gzip
import shutil

import numpy as np
import pandas as pd
import pytest

from nephrospot.errors import InputError
from nephrospot.fastq import COLUMNS, list_fastqs, run_fastqc


def write_fastq(path, reads=400, length=60, quality="F"):
    """Random reads; the last base is poorer, which tells Phred+33 from older ways of writing."""
    rng = np.random.default_rng(1)
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt") as file:
        for place in range(reads):
            file.write(f"@read{place}\n{''.join(rng.choice(list('ACGT'), length))}\n+\n{quality * (length - 1)}:\n")
    return path


@pytest.fixture
def folder(tmp_path):
    """Two lanes of K1 at different depths, and another sample whose name begins alike."""
    for name in ("a/K1_S1_L001", "a/b/K1_S1_L002", "K1_old_S2_L001"):
        for read in ("R1", "R2"):
            path = tmp_path / "fastq" / f"{name}_{read}_001.fastq.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return tmp_path / "fastq"


def test_files_of_a_sample_are_found_at_any_depth(folder):
    names = [path.name for path in list_fastqs([folder], "K1")]
    assert names == [f"K1_S1_L00{lane}_R{read}_001.fastq.gz" for lane in (1, 2) for read in (1, 2)]


def test_what_is_lacking_is_told(folder, tmp_path):
    with pytest.raises(InputError, match=r"no FASTQ file of sample 'K2' \(there is K1, K1_old\)"):
        list_fastqs([folder], "K2")
    with pytest.raises(InputError, match="there is no such folder"):
        list_fastqs([folder, tmp_path / "gone"], "K1")
    (folder / "a/K1_S1_L001_R2_001.fastq.gz").unlink()
    with pytest.raises(InputError, match=r"its second read K1_S1_L001_R2_001\.fastq\.gz is lacking"):
        list_fastqs([folder], "K1")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="called like SAMPLE_S1_L001_R1_001"):
        list_fastqs([tmp_path / "empty"], "K1")


def test_a_machine_without_fastqc_is_told(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="apt install fastqc"):
        run_fastqc(list_fastqs([folder], "K1"), tmp_path / "out", tmp_path / "out.tsv")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("fastqc") is None, reason="the program fastqc is not installed (apt install fastqc)")
class TestFastqc:
    def test_it_tells_good_reads_from_bad_ones(self, tmp_path):
        good = write_fastq(tmp_path / "in/K1_S1_L001_R1_001.fastq.gz")
        bad = write_fastq(tmp_path / "in/K1_S1_L001_R2_001.fastq.gz", quality="#")
        run_fastqc([good, bad], tmp_path / "out", tmp_path / "out.tsv")
        table = pd.read_csv(tmp_path / "out.tsv", sep="\t")
        assert list(table) == COLUMNS and set(table["verdict"]) <= {"PASS", "WARN", "FAIL"}
        verdicts = table.set_index(["file", "module"])["verdict"]
        assert verdicts[good.name, "Per base sequence quality"] == "PASS"
        assert verdicts[bad.name, "Per base sequence quality"] == "FAIL"
        assert len(list((tmp_path / "out").glob("*_fastqc.html"))) == 2

    @pytest.mark.parametrize("share", [0, 0.5])
    def test_a_damaged_file_leaves_nothing(self, tmp_path, share):
        """FastQC itself reports on half a file as if it were whole."""
        path = write_fastq(tmp_path / "in/K1_S1_L001_R1_001.fastq.gz")
        held = path.read_bytes()
        path.write_bytes(held[: int(share * len(held))])
        with pytest.raises(InputError, match=r"fastqc failed on 1 files .*cut short"):
            run_fastqc([path], tmp_path / "out", tmp_path / "out.tsv")
        assert not (tmp_path / "out").exists() and not (tmp_path / "out.tsv").exists()

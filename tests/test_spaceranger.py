"""Raw reads by the user's own Space Ranger, for which a program stands that notes its arguments."""

import json

import pandas as pd
import pytest
import yaml

from fake_spaceranger import install
from nephrospot.errors import InputError
from nephrospot.files import read_json
from nephrospot.reads import check_reads
from nephrospot.settings import read_settings
from nephrospot.spaceranger import (
    count_command,
    count_slide,
    find_spaceranger,
    make_fastqs,
    mkfastq_command,
    run_pipeline,
)
from nephrospot.visium import read_positions
from test_settings import MINIMAL
from visium_folder import make_positions, write_outs


@pytest.fixture
def program(tmp_path):
    write_outs(tmp_path / "bin/outs", make_positions(rows=6, columns=8))
    return install(tmp_path / "bin")


@pytest.fixture
def given(tmp_path, program):
    """Everything that a good configuration names."""
    for name in ("fastq/K1_S1_L001_R1_001.fastq.gz", "fastq/K1_S1_L001_R2_001.fastq.gz", "mm10/reference.json",
                 "K1.tif", "runs/a/RunInfo.xml", "samples.csv", "bin/bcl2fastq"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "bin/bcl2fastq").chmod(0o755)
    config = yaml.safe_load(MINIMAL) | {"results": str(tmp_path / "results")}
    config["reads"] = {
        "spaceranger": str(program),
        "transcriptome": str(tmp_path / "mm10"),
        "slides": {"K1": {"fastqs": str(tmp_path / "fastq"), "serial": "V19J01-123", "area": "A1"}},
    }
    sheet = pd.DataFrame({"slide": ["K1"], "image": [str(tmp_path / "K1.tif")], "visium": [f"{tmp_path}/elsewhere"]})
    return config, sheet.set_index("slide", drop=False)


def refusal(given):
    config, sheet = given
    with pytest.raises(InputError) as caught:
        check_reads(read_settings(config), sheet)
    return str(caught.value).splitlines()


class TestCheck:
    def test_what_is_as_it_should_be_passes(self, given):
        config, sheet = given
        check_reads(read_settings(config), sheet)

    def test_without_reads_no_program_is_looked_for(self, given):
        config, sheet = given
        config["reads"] = {"spaceranger": "no-such-program"}
        check_reads(read_settings(config), sheet)

    def test_finished_slides_need_no_program(self, given, tmp_path):
        config, sheet = given
        config["reads"]["spaceranger"] = "no-such-program"
        (tmp_path / "results/spaceranger/K1/outs").mkdir(parents=True)
        check_reads(read_settings(config), sheet)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"spaceranger": "no-such-program"}, "install Space Ranger from 10x Genomics"),
            ({"spaceranger": "/bin/true"}, "tells no version"),
            ({"min_version": "4"}, "is version 3.1.2, and 4 or newer is needed"),
            ({"transcriptome": ""}, "holds no reference.json"),
            ({"probe_set": "gone.csv"}, "'gone.csv' doesn't exist"),
        ],
    )
    def test_a_machine_that_is_not_ready(self, given, change, words):
        given[0]["reads"] |= change
        told = refusal(given)
        assert len(told) == 1 and told[0].startswith("config, reads.") and words in told[0]

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"serial": "19J01-123"}, "isn't a Visium slide's"),
            ({"area": ""}, "serial and area are needed"),
            ({"sample": "K2"}, "no FASTQ file of sample 'K2' (there is K1)"),
            ({"fastqs": ["gone"]}, "gone: there is no such folder"),
            ({"image": "gone.tif"}, "'gone.tif' doesn't exist"),
            ({"image": __file__}, "can't read"),
            ({"cytaimage": "gone.tif"}, "'gone.tif' doesn't exist"),
        ],
    )
    def test_a_slide_that_is_not_ready(self, given, change, words):
        given[0]["reads"]["slides"]["K1"] |= change
        told = refusal(given)
        assert len(told) == 1 and told[0].startswith("config, reads.slides.K1") and words in told[0]

    def test_cytassist_needs_a_version_that_knows_it(self, given, tmp_path):
        config, _ = given
        config["reads"]["spaceranger"] = str(install(tmp_path / "old", "1.3.1"))
        config["reads"]["slides"]["K1"]["cytaimage"] = str(tmp_path / "K1.tif")
        assert "doesn't know CytAssist; install 2.0 or newer" in refusal(given)[0]

    def test_an_unknown_slide_needs_no_serial(self, given):
        config, sheet = given
        config["reads"]["slides"]["K1"] |= {"serial": "", "area": "", "arguments": ["--unknown-slide=visium-1"]}
        check_reads(read_settings(config), sheet)

    def test_slides_and_sheet_must_know_each_other(self, given, tmp_path):
        config, sheet = given
        config["reads"]["slides"]["K2"] = config["reads"]["slides"]["K1"]
        sheet.loc["K1", "visium"] = f"{tmp_path}/results/spaceranger/K9/outs"
        told = refusal(given)
        assert len(told) == 2 and "reads.slides.K2: there is no such slide" in told[0]
        assert "nothing makes it; give" in told[1] and "results/spaceranger/K1/outs there" in told[1]

    def test_flow_cells(self, given, tmp_path, monkeypatch):
        config, sheet = given
        good = {"bcl": str(tmp_path / "runs/a"), "csv": str(tmp_path / "samples.csv")}
        config["reads"]["flowcells"] = {"a": good}
        config["reads"]["slides"]["K1"]["fastqs"] = f"{tmp_path}/results/fastq/a"
        assert "bcl2fastq, which isn't in PATH" in refusal(given)[0]
        monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
        check_reads(read_settings(config), sheet)
        config["reads"]["flowcells"] = {"a": good | {"bcl": "gone", "samplesheet": "gone.csv"}}
        told = "\n".join(refusal(given))
        assert "no folder 'gone'" in told and "one of them" in told and "'gone.csv' doesn't exist" in told
        config["reads"] |= {"flowcells": {"a": good}, "spaceranger": str(install(tmp_path / "new", "9.0.0", mkfastq=1))}
        assert "has no mkfastq" in refusal(given)[0]


OWN = {"sample": "", "serial": "V19J01-123", "area": "A1", "cytaimage": "", "alignment": "", "arguments": ["--x=1"]}


def make_command(program, tmp_path, version=(3, 1, 2), **changes):
    paths = [str(tmp_path / name) for name in ("mm10", "probes.csv", "K1.tif")]
    return count_command(str(program), version, "K.1", OWN | changes, *paths, ["fq/a", "fq/b"], 4, 64000)


class TestCount:
    def test_the_command_says_what_was_given(self, program, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        command = make_command(program, tmp_path, cytaimage="c.tif")
        assert command[:3] == [str(program), "count", "--id=K_1"], "Space Ranger allows no dot in an id"
        assert f"--fastqs={tmp_path}/fq/a,{tmp_path}/fq/b" in command and "--sample=K.1" in command
        assert {"--slide=V19J01-123", "--area=A1", f"--cytaimage={tmp_path}/c.tif", "--x=1"} <= set(command)
        assert {f"--probe-set={tmp_path}/probes.csv", "--localcores=4", "--localmem=57"} <= set(command)
        assert not any(part.startswith("--loupe-alignment") for part in command), "what wasn't given isn't said"

    @pytest.mark.parametrize(
        ("version", "bam"), [((1, 3, 1), "--no-bam"), ((2, 1), "--no-bam"), ((3, 0, 0), "--create-bam=false")]
    )
    def test_no_bam_in_the_words_of_each_version(self, program, tmp_path, version, bam):
        assert bam in make_command(program, tmp_path, version)

    def test_outs_and_what_made_them_are_kept(self, program, tmp_path):
        command = make_command(program, tmp_path)
        outs, facts = tmp_path / "results/spaceranger/K1/outs", tmp_path / "results/spaceranger/K1/count.json"
        count_slide(command, (3, 1, 2), outs, facts)
        assert len(read_positions(outs).in_tissue) == 24
        held = read_json(facts)
        assert held["version"] == "3.1.2" and held["command"] == command
        assert [path.name for path in (tmp_path / "results/spaceranger").iterdir()] == ["K1"], "no leftovers"

    def test_a_failure_is_told_and_the_next_try_goes_on(self, program, tmp_path):
        command, outs = make_command(program, tmp_path), tmp_path / "sr/K1/outs"
        (tmp_path / "bin/broken").touch()
        with pytest.raises(InputError, match=r"spaceranger count failed: \[error\] Your FASTQs are too few.*said\.txt"):
            count_slide(command, (3, 1, 2), outs, tmp_path / "count.json")
        assert not outs.exists() and (tmp_path / "sr/K1.unfinished/K_1/half").exists()
        (tmp_path / "bin/broken").unlink()
        more = [part.replace("--localcores=4", "--localcores=8") for part in command]
        run_pipeline(more, tmp_path / "sr/K1.unfinished")
        assert (tmp_path / "sr/K1.unfinished/K_1/half").exists(), "more cores are no other command"

    def test_another_command_starts_anew(self, program, tmp_path):
        (tmp_path / "bin/broken").touch()
        with pytest.raises(InputError):
            run_pipeline(make_command(program, tmp_path), tmp_path / "run")
        (tmp_path / "bin/broken").unlink()
        run_pipeline(make_command(program, tmp_path, area="B1"), tmp_path / "run")
        assert not (tmp_path / "run/K_1/half").exists()

    def test_an_end_without_a_visium_folder_is_a_failure(self, program, tmp_path):
        (tmp_path / "bin/outs/spatial").rename(tmp_path / "bin/outs/other")
        with pytest.raises(InputError, match="without a folder outs/spatial"):
            count_slide(make_command(program, tmp_path), (3, 1, 2), tmp_path / "sr/K1/outs", tmp_path / "count.json")


class TestFastqs:
    def test_they_are_made_and_kept(self, program, tmp_path):
        made = tmp_path / "fastq/a.unfinished/fastq"
        given = {"bcl": str(tmp_path / "runs/a"), "csv": str(tmp_path / "samples.csv"), "samplesheet": ""}
        command = mkfastq_command(str(program), "a", given, made, 4, 32000)
        make_fastqs(command, made, tmp_path / "fastq/a")
        assert sorted(path.name for path in (tmp_path / "fastq/a").rglob("*.gz")) == [
            "K1_S1_L001_R1_001.fastq.gz",
            "K1_S1_L001_R2_001.fastq.gz",
        ]
        told = json.loads((tmp_path / "bin/mkfastq.json").read_text())
        assert {f"--run={tmp_path}/runs/a", f"--csv={tmp_path}/samples.csv", "--id=a"} <= set(told)
        assert [path.name for path in (tmp_path / "fastq").iterdir()] == ["a"]


def test_versions_are_read_in_any_words(tmp_path):
    for words, version in (("1.3.0", (1, 3, 0)), ("(2.0.1)", (2, 0, 1)), ("4.0", (4, 0))):
        assert find_spaceranger(str(install(tmp_path / words, words)), "1.3")[1] == version

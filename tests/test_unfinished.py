"""Long work: whatever happens on the way, nothing looks finished before it is, and nothing whole is done twice."""

import errno
import json
import multiprocessing
import os
import signal

import pytest

from nephrospot.errors import InputError
from nephrospot.unfinished import JOURNAL, resumable


class StoppedError(Exception):
    pass


def write(output, pieces, key="k", stop_after=None, made=None):
    """Write pieces that aren't there yet; ``made`` collects their names."""
    with resumable(output, key) as work:
        for number, piece in enumerate(pieces):
            if piece not in work.done:
                file = work.folder / piece
                file.write_text(f"{piece} of {key}")
                work.add(piece, {"size": len(piece)}, file)
                if made is not None:
                    made.append(piece)
            if number == stop_after:
                raise StoppedError


def test_the_output_appears_when_it_is_whole(tmp_path):
    output = tmp_path / "out.zarr"
    with pytest.raises(StoppedError):
        write(output, "abc", stop_after=1)
    assert not output.exists()
    made = []
    write(output, "abc", made=made)
    assert made == ["c"], "what was whole isn't made again"
    assert sorted(path.name for path in output.iterdir()) == ["a", "b", "c"]
    assert [path.name for path in tmp_path.iterdir()] == ["out.zarr"]


def test_work_under_another_key_is_thrown_away(tmp_path):
    output = tmp_path / "out.zarr"
    with pytest.raises(StoppedError):
        write(output, "ab", key="old weights", stop_after=0)
    write(output, "b", key="new weights")
    assert [path.name for path in output.iterdir()] == ["b"] and (output / "b").read_text() == "b of new weights"


@pytest.mark.parametrize("torn", ['{"piece": "b", "fac', '{"piece": "b", "facts": {}}', "\0\0\0\n"])
def test_a_torn_last_line_counts_for_nothing(tmp_path, torn):
    output = tmp_path / "out.zarr"
    with pytest.raises(StoppedError):
        write(output, "a", stop_after=0)
    journal = tmp_path / ".out.unfinished.zarr" / JOURNAL
    journal.write_text(journal.read_text() + torn)
    with pytest.raises(StoppedError):
        write(output, "ab", made=(made := []), stop_after=1)
    assert made == ["b"]
    assert [json.loads(line)["piece"] for line in journal.read_text().splitlines()[1:]] == ["a", "b"]


def work_until_killed(output):
    with resumable(output, "k") as work:
        work.add("a", {})
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_leaves_its_work_to_the_next(tmp_path):
    output = tmp_path / "out.zarr"
    process = multiprocessing.get_context("fork").Process(target=work_until_killed, args=(output,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL and not output.exists()
    with resumable(output, "k") as work:
        assert list(work.done) == ["a"], "its lock is gone with it, its note isn't"


def test_two_processes_cant_work_on_the_same(tmp_path):
    with (
        resumable(tmp_path / "out.zarr", "k"),
        pytest.raises(InputError, match="another process is at work on it; wait for that one"),
        resumable(tmp_path / "out.zarr", "k"),
    ):
        pass


def test_a_full_disk_is_a_sentence(tmp_path):
    told = pytest.raises(InputError, match=r"out\.zarr: the disk is full; free some space")
    with told, resumable(tmp_path / "out.zarr", "k"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not (tmp_path / "out.zarr").exists()


def test_an_older_output_stands_until_the_new_one_is_whole(tmp_path):
    output = tmp_path / "out.zarr"
    write(output, "a")
    with pytest.raises(StoppedError):
        write(output, "bc", stop_after=0)
    assert [path.name for path in output.iterdir()] == ["a"]
    write(output, "bc")
    assert sorted(path.name for path in output.iterdir()) == ["b", "c"]

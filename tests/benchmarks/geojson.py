"""masks.geojson.gz: objects a second, memory and size, beside the plain way; and what the masks take on disk.

    python tests/benchmarks/geojson.py --side 20000 --objects 27210

The plain way holds the whole mask, follows pixel centres with cv2.findContours, thins by 1 px and writes one JSON
text, gzipped. Each way runs in a process of its own, so that its peak memory is its own.
"""

import argparse
import gzip
import json
import multiprocessing
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import zarr
from meter import cpu_seconds, disk_mb, peak_mb

from nephrospot.components import find_components
from nephrospot.geojson import write_geojson
from nephrospot.omezarr import add_metadata, blocks, create_plane, create_root, majority, open_masks, write_multiscale
from nephrospot.outlines import list_batches

SLIDE_MPP, MASK_MPP = 0.5, 1.0  # a 20× slide, read at 10×
LEVELS = 7


def make_masks(folder: Path, side: int, objects: int) -> None:
    """About ``objects`` wavy outlines on a jittered grid, some of which touch, as OME-Zarr 0.5 and 0.4."""
    rng = np.random.default_rng(1)
    across = round(objects**0.5)
    step, angle = side / across, np.linspace(0, 2 * np.pi, 90)[:-1]
    mask = np.zeros((side, side), np.uint8)
    for centre in (np.stack(np.meshgrid(np.arange(across), np.arange(across)), -1).reshape(-1, 2) + 0.5) * step:
        waves = sum(rng.normal(0, 0.25 / k) * np.cos(k * angle + rng.uniform(0, 7)) for k in range(1, 9))
        radius = rng.uniform(0.2, 0.42) * step * np.exp(0.5 * waves)
        points = centre + radius[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
        cv2.fillPoly(mask, [points.astype(np.int32)], 1)
    for ngff in ("0.5", "0.4"):
        labels = create_root(folder / ngff, ngff).create_group("labels")
        label = labels.create_group("PT")
        plane = create_plane(label, "0", mask.shape)
        for rows, columns in blocks(mask.shape):
            plane[rows, columns] = mask[rows, columns]
        write_multiscale(label, plane, MASK_MPP, majority, "PT", LEVELS)
        add_metadata(labels, labels=["PT"])


def find_and_trace(folder: Path) -> int:
    """Components and polygons, nothing written; says what share of the time tracing is."""
    array = open_masks(folder / "0.5")["PT/0"]
    source = (array.shape, MASK_MPP, lambda rows, columns: array[rows, columns])
    components = find_components(source)
    start = time.process_time()
    count = sum(len(ids) for ids, _ in list_batches(source, components))
    seconds = time.process_time() - start
    print(f"    tracing alone: {seconds:.1f} CPU s, {count / seconds:,.0f} polygons a second")
    return count


def write(folder: Path) -> int:
    """`write_geojson`, from masks on disk to the file."""
    counts = write_geojson(folder / "ours.geojson.gz", folder / "0.5", SLIDE_MPP, {"PT": "#009e73"}, {}, "S1/m")
    return sum(counts.values())


def write_plainly(folder: Path) -> int:
    """The plain way, without holes, ids or areas."""
    mask = open_masks(folder / "0.5")["PT/0"][:]
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    features = []
    for contour in contours:
        ring = (cv2.approxPolyDP(contour, 1, True)[:, 0] * MASK_MPP / SLIDE_MPP).tolist()
        properties = {"objectType": "annotation", "classification": {"name": "PT", "color": [0, 158, 115]}}
        geometry = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
        features.append({"type": "Feature", "geometry": geometry, "properties": properties})
    text = json.dumps({"type": "FeatureCollection", "features": features}, separators=(",", ":"))
    (folder / "plain.geojson.gz").write_bytes(gzip.compress(text.encode(), 6))
    return len(features)


def measure(way, folder: Path) -> None:
    cv2.setNumThreads(1)
    start, seconds, memory = time.perf_counter(), cpu_seconds(), peak_mb()
    count = way(folder)
    seconds = cpu_seconds() - seconds
    print(
        f"{way.__name__:15} {count:7,} polygons  {seconds:6.1f} CPU s  {time.perf_counter() - start:6.1f} s wall  "
        f"{count / seconds:7,.0f} polygons a CPU second  peak {peak_mb():6.0f} MB ({memory:.0f} at the start)",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=20_000, help="of the mask, px")
    parser.add_argument("--objects", type=int, default=27_210)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, context = Path(name), multiprocessing.get_context("spawn")
        calls = [(make_masks, (folder, given.side, given.objects))]
        calls += [(measure, (way, folder)) for way in (find_and_trace, write, write_plainly)]
        for function, values in calls:
            process = context.Process(target=function, args=values)
            process.start()
            process.join()
            if process.exitcode:
                raise SystemExit(process.exitcode)
        slide_px = (given.side * MASK_MPP / SLIDE_MPP) ** 2
        print(f"foreground {zarr.open_array(str(folder / '0.5/labels/PT/6'), mode='r')[:].mean():.0%} of the mask")
        for kind in ("ours", "plain"):
            path = folder / f"{kind}.geojson.gz"
            raw = len(gzip.decompress(path.read_bytes()))
            print(f"{path.name:17} {path.stat().st_size / 1e6:6.1f} MB, {raw / 1e6:6.1f} MB unpacked")
        for ngff in ("0.5", "0.4"):
            size, files = disk_mb(folder / ngff), sum(path.is_file() for path in (folder / ngff).rglob("*"))
            print(f"OME-Zarr {ngff}  {size:6.1f} MB, {files} files, {1e6 * size / slide_px:.4f} byte a slide pixel "
                  "with pyramid")  # fmt: skip


if __name__ == "__main__":
    main()

"""A filled-in scoring sheet → scores of each slide."""

from pathlib import Path

from nephrospot.files import whole
from nephrospot.job import job
from nephrospot.scoring import import_sheet

with job(snakemake):
    p = snakemake.params
    scores = import_sheet(snakemake.input.sheet, p.key, p.tissues, p.reader)
    folder = Path(snakemake.output.folder)
    folder.mkdir(parents=True, exist_ok=True)
    for slide, table in scores.items():
        with whole(folder / f"{slide}.csv") as temporary:
            table.to_csv(temporary, index=False)
    total = sum(map(len, scores.values()))
    print(f"{total} scores of {len(scores)} slides are in {folder}; add their rows to the files under column scores")
    print("of the sample sheet, or give these files there.")

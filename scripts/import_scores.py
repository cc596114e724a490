"""A filled-in scoring sheet → scores of each slide."""

from nephrospot.job import job
from nephrospot.scoring import import_sheet, write_scores

with job(snakemake):
    p = snakemake.params
    scores = import_sheet(snakemake.input.sheet, p.key, p.tissues, p.reader)
    folder = snakemake.output.folder
    write_scores(folder, scores)
    total = sum(map(len, scores.values()))
    print(f"{total} scores of {len(scores)} slides are in {folder}; add their rows to the files under column scores")
    print("of the sample sheet, or give these files there.")

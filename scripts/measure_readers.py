"""Every slide's scores → how far readers agree."""

from pathlib import Path

from nephrospot.cohort import read_cohort_readings
from nephrospot.files import whole
from nephrospot.job import job
from nephrospot.readers import measure_readers
from nephrospot.refusals import leave_out

with job(snakemake, can_leave_out=True) as refused:
    p, slides = snakemake.params, leave_out(snakemake.params.slides, refused)
    manifests = [Path(p.results, slide, "slide.json") for slide in slides]
    readings, places = read_cohort_readings(manifests, slides, p.tissues)
    with whole(snakemake.output.table) as temporary:
        table = measure_readers(readings, places, **p.statistics)
        table.to_csv(temporary, sep="\t", index=False, float_format="%.6g", na_rep="nan")

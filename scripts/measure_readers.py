"""Every slide's scores → how far readers agree."""

from nephrospot.cohort import read_cohort_readings
from nephrospot.files import whole
from nephrospot.job import job
from nephrospot.readers import measure_readers

with job(snakemake):
    p = snakemake.params
    readings, places = read_cohort_readings(snakemake.input.manifests, p.slides, p.tissues)
    with whole(snakemake.output.table) as temporary:
        table = measure_readers(readings, places, **p.statistics)
        table.to_csv(temporary, sep="\t", index=False, float_format="%.6g", na_rep="nan")

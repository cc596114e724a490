"""Everything → results/report.html."""

import pandas as pd

from nephrospot.cohort import gather_report
from nephrospot.job import job
from nephrospot.report.page import write_report

with job(snakemake, can_leave_out=True) as refused:
    settings, sheet = snakemake.params.settings, pd.DataFrame(snakemake.params.sheet)
    write_report(snakemake.output.page, **gather_report(settings["results"], settings, sheet, refused))

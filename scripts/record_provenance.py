"""What made the tables → provenance.json, and configuration and sheet to make them again."""

import pandas as pd

from nephrospot.cohort import list_versions
from nephrospot.files import write_json
from nephrospot.job import job
from nephrospot.provenance import gather_provenance, write_state

with job(snakemake, can_leave_out=True):
    p, o, sheet = snakemake.params, snakemake.output, pd.DataFrame(snakemake.params.sheet)
    record = gather_provenance(p.settings, snakemake.input.facts, snakemake.input.tables, list_versions(), p.root)
    write_json(o.record, record)
    write_state(p.settings, sheet, o.config, o.sheet)

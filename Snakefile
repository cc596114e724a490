# nephrospot: slides → masks → tissue under each Visium spot → Table II.
#
#   snakemake -n                  what would be done
#   snakemake check               look at every slide, Visium folder and score sheet before any work
#   snakemake --cores all         everything up to results/report.html
#   snakemake --profile slurm     the same on a cluster
#   snakemake status              what is done, running, failed and left, also beside a run
#
# Reading order: rules/common.smk, then the rules in the order of the includes, which is the way of the data.

from snakemake.utils import min_version

min_version("9.19")


# A file given with --configfile stands for config/config.yaml; give both to change single keys.
if not workflow.config_settings.configfiles:

    configfile: "config/config.yaml"


report: "workflow/report/workflow.rst"


include: "rules/common.smk"
include: "rules/demo.smk"
include: "rules/reads.smk"
include: "rules/check.smk"
include: "rules/segment.smk"
include: "rules/spots.smk"
include: "rules/evaluate.smk"
include: "rules/omics.smk"
include: "rules/scoring.smk"
include: "rules/compare.smk"
include: "rules/report.smk"
include: "rules/provenance.smk"
include: "rules/handover.smk"
include: "rules/train.smk"
include: "rules/train_tables.smk"
include: "rules/status.smk"


# Every slide's finals stand here beside the cohort's: a wrong path is then an error, not "nothing to be done".
rule all:
    default_target: True
    input:
        slide_finals,
        cohort_finals,

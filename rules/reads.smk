"""From raw reads, only where the configuration has some under reads: FASTQ files, FastQC, and the user's own Space Ranger."""

# Program and version are read from the configuration by the scripts, and the two rules of Space Ranger have no code=:
# neither another path to it nor a change of ours may send finished slides through hours of counting again.
READS = settings["reads"]


rule make_fastqs:
    """A sequencer's run folder as FASTQ files: spaceranger mkfastq."""
    input:
        bcl=lambda wildcards: READS["flowcells"][wildcards.flowcell]["bcl"],
        samples=lambda wildcards: READS["flowcells"][wildcards.flowcell]["csv"]
        or READS["flowcells"][wildcards.flowcell]["samplesheet"],
    output:
        folder=directory("<results>/fastq/{flowcell}"),
    log:
        "<logs>/make_fastqs/{flowcell}.log",
    wildcard_constraints:
        flowcell=any_of(READS["flowcells"]),
    conda:
        "../envs/nephrospot.yaml"
    threads: 8
    resources:
        mem_mb=32000,
    params:
        own=lambda wildcards: READS["flowcells"][wildcards.flowcell],
    script:
        "../scripts/make_fastqs.py"


rule check_fastqs:
    """FastQC of a slide's FASTQ files."""
    input:
        fastqs=fastqs,
    output:
        folder=directory("<results>/fastqc/{slide}"),
        table="<results>/fastqc/{slide}.tsv",
    log:
        "<logs>/check_fastqs/{slide}.log",
    wildcard_constraints:
        slide=any_of(READS["slides"]),
    conda:
        "../envs/nephrospot.yaml"
    threads: 2
    resources:
        mem_mb=2000,
    params:
        sample=lambda wildcards: READS["slides"][wildcards.slide]["sample"] or wildcards.slide,
        code=code("check_fastqs"),
    script:
        "../scripts/check_fastqs.py"


rule count_spots:
    """Reads and picture of a slide as a Visium folder: spaceranger count."""
    input:
        fastqs=fastqs,
        image=lambda wildcards: picture_of(READS["slides"][wildcards.slide], included.at[wildcards.slide, "image"]),
        transcriptome=READS["transcriptome"] or [],
    output:
        outs=directory("<results>/spaceranger/{slide}/outs"),
        facts="<results>/spaceranger/{slide}/count.json",
    log:
        "<logs>/count_spots/{slide}.log",
    benchmark:
        "<logs>/count_spots/{slide}.benchmark.tsv"
    wildcard_constraints:
        slide=any_of(READS["slides"]),
    conda:
        "../envs/nephrospot.yaml"
    threads: 16
    resources:
        mem_mb=64000,
        runtime=1440,
    params:
        own=lambda wildcards: READS["slides"][wildcards.slide],
        probe_set=READS["probe_set"],
    script:
        "../scripts/count_spots.py"


rule fastqc:
    """FastQC of every slide under reads."""
    input:
        expand("<results>/fastqc/{slide}.tsv", slide=COUNTED),


rule count:
    """Space Ranger's folder of every slide under reads."""
    input:
        expand("<results>/spaceranger/{slide}/outs", slide=COUNTED),

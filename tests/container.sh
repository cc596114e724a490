#!/usr/bin/env bash
# The image of envs/Containerfile, built without a daemon, and a small cohort run in it beside one run outside:
# both must give the same tables, byte for byte. `make container`; as root on Debian, some ten minutes.
# BUILD is handed to buildah, such as BUILD='--volume /etc/pip.conf:/etc/pip.conf:ro' for a package mirror.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d /var/tmp/nephrospot-container.XXXX)
trap 'rm -rf "$work"' EXIT
run_buildah() { buildah --root "$work/store" --runroot "$work/run" --storage-driver vfs "$@"; }

# The base image comes from Docker Hub, or where that can't be reached from Debian's own packages.
if ! run_buildah pull --quiet docker.io/library/debian:12-slim 2>/dev/null; then
    echo "Docker Hub can't be reached: the base image is made by debootstrap."
    debootstrap --variant=minbase bookworm "$work/base" "${MIRROR:-http://deb.debian.org/debian}" > "$work/debootstrap.log"
    base=$(run_buildah from scratch)
    run_buildah copy --quiet "$base" "$work/base" /
    run_buildah commit --quiet "$base" debian:12-slim
    run_buildah rm "$base" > /dev/null
    rm -rf "$work/base"
fi
git -C "$root" archive HEAD --prefix=inside/ | tar -x -C "$work"
cp -r "$work/inside" "$work/outside"
# shellcheck disable=SC2086
run_buildah bud --isolation chroot ${BUILD:-} --file "$work/inside/envs/Containerfile" --tag nephrospot "$work/inside"
image=$(run_buildah from ${BUILD:-} nephrospot)

# One small simulated slide, every rule of the demonstration.
for folder in inside outside; do
    (
        cd "$work/$folder"
        grep --invert-match --extended-regexp '^K[2-9]' config/slides.tsv > config/one.tsv
        cat > config/small.yaml <<'YAML'
sheet: config/one.tsv
demo: {simulation: {section: {width_um: 1000, height_um: 1000}, genes: {number: 1000}}}
deconvolution: {min_common_genes: 100}
YAML
    )
done
small=(snakemake --cores "${CORES:-all}" --configfile config/config.yaml config/small.yaml)
run_buildah run --isolation chroot --volume "$work/inside:/work" "$image" -- "${small[@]}" > "$work/inside.log" 2>&1 || { tail -30 "$work/inside.log"; exit 1; }
(cd "$work/outside" && "${small[@]}" > "$work/outside.log" 2>&1) || { tail -30 "$work/outside.log"; exit 1; }
for table in correlations.parquet differences.parquet evaluation.tsv table2.tsv; do
    cmp "$work/inside/results/$table" "$work/outside/results/$table"
done
echo "The image was built, and the tables of a run in it are those of a run outside, byte for byte."
run_buildah images

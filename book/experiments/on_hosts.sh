#!/usr/bin/env bash
# Run a job's script on the first free host of $DDL_HOSTS, and wait for its end: for Snakemake's
# executor cluster-sync, where there are several machines and no scheduler.
#
#     export DDL_HOSTS="mill attic"       # named as for ssh; a host named twice takes two jobs
#     uvx --with snakemake-executor-plugin-cluster-sync snakemake -s book/experiments/Snakefile \
#         --executor cluster-sync --cluster-sync-submit-cmd "$PWD/book/experiments/on_hosts.sh" \
#         --jobs 2 --config experiment=table2
#
# All hosts have the project and the folder of runs at the same paths. DDL_REMOTE is what
# reaches a host, by default ssh. A host that fails a job is left alone for a minute.
set -u
script=$1
locks=${DDL_LOCKS:-${TMPDIR:-/tmp}/ddl-hosts-$UID}
remote=${DDL_REMOTE:-ssh -o BatchMode=yes -o ServerAliveInterval=15 -o ServerAliveCountMax=4}
if [ -z "${DDL_HOSTS:-}" ]; then
    echo "on_hosts.sh: DDL_HOSTS names no host; set it, such as DDL_HOSTS=\"mill attic\"" >&2
    exit 2
fi
mkdir -p "$locks"
while true; do
    number=0
    for host in $DDL_HOSTS; do
        number=$((number + 1))
        exec 9>"$locks/$number-${host//\//_}"
        if flock --nonblock 9; then
            $remote "$host" bash -s <"$script"
            status=$?
            [ $status -eq 0 ] || sleep "${DDL_REST:-60}"
            exit $status
        fi
    done
    sleep 1
done

#!/bin/sh
# log.sh LAYER FILE: the router of a layer, and beside it a logger of shell and jq, for --exec:
#
#     moe-run --exec 'route:2=sh log.sh 2 seen.tsv' pictures
#
# FILE gets a line for each token: sequence, name, token, modality, chosen experts, weights. What passes through is not changed.
set -eu
layer=$1 file=$2
fifo=$(mktemp -u)
mkfifo "$fifo"
trap 'rm -f "$fifo"' EXIT

moe-view --json -n 1000000 - <"$fifo" | jq -r 'select(.kind == "routed") | .meta as $m | (.tensors | map({(.name): .}) | add) as $t | ($t.expert_id.shape[1]) as $k
	| range($t.token.shape[0]) as $i
	| [$m["moe.seq"], $m["moe.name"] // "-", $t.token.values[$i], ["text", "image"][$t.modality.values[$i]],
	   ($t.expert_id.values[$i * $k:($i + 1) * $k] | join(",")), ($t.weight.values[$i * $k:($i + 1) * $k] | map(. * 1000 | round / 1000) | join(","))]
	| @tsv' >"$file" &
moe-route -l "$layer" | tee "$fifo"
wait

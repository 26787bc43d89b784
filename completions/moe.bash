# bash completion of the moe-* programs, made by completions/make.sh from their option tables
_moe() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} all= folders= files= values=
	case ${1##*/} in
	moe-ablate)
		all="-l --layers --experts --rows --way --limit --types --chat -n --max-new --no-sandbox --journal --map --json --tsv -m --model --family --math --any-memory -o --output -q --quiet -t --threads --cpu --help --version"
		folders="-m --model"
		files="--experts --rows --way --types --journal --map --family -o --output"
		values="-l --layers --limit -n --max-new --math -t --threads"
		case $prev in
		--cpu) COMPREPLY=($(compgen -W 'c avx2 avx-vnni avx512 vnni amx' -- "$cur")) && return ;;
		esac
		;;
	moe-attend)
		all="-l --layers --only-wanted --attention --batch-choice --causal-choice -m --model --family -o --output --any-model --any-order --no-pg -q --quiet -t --threads --cpu --help --version"
		folders="-m --model"
		files="--family -o --output"
		values="-l --layers --batch-choice --causal-choice -t --threads"
		case $prev in
		--cpu) COMPREPLY=($(compgen -W 'c avx2 avx-vnni avx512 vnni amx' -- "$cur")) && return ;;
		esac
		;;
	moe-bench)
		all="-p --prompt-tokens -n --new-tokens -r --repeat --type --products --optimiser --json --any-memory -m --model --family --math -q --quiet -t --threads --cpu --help --version"
		folders="-m --model"
		files="--family"
		values="-p --prompt-tokens -n --new-tokens -r --repeat --type --products --optimiser --math -t --threads"
		case $prev in
		--cpu) COMPREPLY=($(compgen -W 'c avx2 avx-vnni avx512 vnni amx' -- "$cur")) && return ;;
		esac
		;;
	moe-block)
		all="-l --layers --only-wanted --attention --parts -m --model --family -o --output --any-model --any-order --no-pg --drop --force --top-k --temperature --bias --mute --swap --batch-choice --causal-choice --stats --trace --trace-detail -q --quiet -t --threads --cpu --help --version"
		folders="-m --model"
		files="--family -o --output --bias --stats --trace"
		values="-l --layers --parts --drop --force --top-k --temperature --mute --swap --batch-choice --causal-choice --trace-detail -t --threads"
		case $prev in
		--cpu) COMPREPLY=($(compgen -W 'c avx2 avx-vnni avx512 vnni amx' -- "$cur")) && return ;;
		esac
		;;
	moe-convert)
		all="--type --shard-size --restart --pack --json --family -q --quiet -t --threads --cpu --help --version"
		folders=""
		files="--family"
		values="--type --shard-size -t --threads"
		case $prev in
		--cpu) COMPREPLY=($(compgen -W 'c avx2 avx-vnni avx512 vnni amx' -- "$cur")) && return ;;
		esac
		;;
	moe-decode)
		all="-n --max-new --temperature --top-k --top-p --min-p --repetition-penalty --seed --stop --min-confidence --json --logprobs --image --stream --loop --logits -H --with-names -h --no-names --lens --rows -m --model --family -o --output --any-model --any-order --no-pg -q --quiet -t --threads --cpu --help --version"
		folders="-m --model"
		files="--image --loop --family -o --output"
		values="-n --max-new --temperature --top-k --top-p --min-p --repetition-penalty --seed --stop --min-confidence --logprobs --lens --rows -t --threads"
		case $prev in
		--cpu) COMPREPLY=($(compgen -W 'c avx2 avx-vnni avx512 vnni amx' -- "$cur")) && return ;;
		esac
		;;
	moe-diff)
		all="--rtol --atol --tie --frames --json -p --prompt -n --max-new --files-from -0 --null --no-sandbox --any-memory --math -q --quiet -t --threads --cpu --help --version"
		folders=""
		files="--files-from"
		values="--rtol --atol --tie -p --prompt -n --max-new --math -t --threads"
		case $prev in
		--cpu) COMPREPLY=($(compgen -W 'c avx2 avx-vnni avx512 vnni amx' -- "$cur")) && return ;;
		esac
		;;
	moe-embed)
		all="--chunk --features -m --model --family -o --output --any-model --any-order --no-pg -q --quiet -t --threads --cpu --help --version"
		folders="-m --model"
		files="--family -o --output"
		values="--chunk --features -t --threads"
		case $prev in
		--cpu) COMPREPLY=($(compgen -W 'c avx2 avx-vnni avx512 vnni amx' -- "$cur")) && return ;;
		esac
		;;
	moe-encode)
		all="--image -m --model --family -o --output --any-model --any-order --no-pg -q --quiet -t --threads --cpu --help --version"
		folders="-m --model"
		files="--image --family -o --output"
		values="-t --threads"
		case $prev in
		--cpu) COMPREPLY=($(compgen -W 'c avx2 avx-vnni avx512 vnni amx' -- "$cur")) && return ;;
		esac
		;;
	moe-eval)
		all="--limit --types --chat -n --max-new --no-sandbox --by --patch-layer --against --no-blind --loss --draw --text-tokens --answers --json --tsv --batch --causal-choice -m --model --family --math --any-memory -o --output -q --quiet -t --threads --cpu --help --version"
		folders="--against -m --model"
		files="--types --answers --family -o --output"
		values="--limit -n --max-new --by --patch-layer --draw --text-tokens --batch --causal-choice --math -t --threads"
		case $prev in
		--cpu) COMPREPLY=($(compgen -W 'c avx2 avx-vnni avx512 vnni amx' -- "$cur")) && return ;;
		esac
		;;
	moe-expert)
		all="-l --layers --parts --experts --partial -m --model --family -o --output --any-model --any-order --no-pg -q --quiet -t --threads --cpu --help --version"
		folders="-m --model"
		files="--family -o --output"
		values="-l --layers --parts --experts -t --threads"
		case $prev in
		--cpu) COMPREPLY=($(compgen -W 'c avx2 avx-vnni avx512 vnni amx' -- "$cur")) && return ;;
		esac
		;;
	moe-graft)
		all="-m --model -o --output --experts -n --number -l --layers --top-k --pools --router --deviation --noise --random --width --rescale --gumbel --weights --load --any-model --seed --type --shard-size --no-check --restart --json --family -q --quiet -t --threads --cpu --help --version"
		folders="-m --model"
		files="--experts --load --family"
		values="-o --output -n --number -l --layers --top-k --pools --router --deviation --noise --weights --seed --type --shard-size -t --threads"
		case $prev in
		--cpu) COMPREPLY=($(compgen -W 'c avx2 avx-vnni avx512 vnni amx' -- "$cur")) && return ;;
		esac
		;;
	moe-import)
		all="-m --model --experts --top-k --layers --score --renormalise --axes --weights --tokens --image-token --no-pg -o --output -q --quiet -t --threads --cpu --help --version"
		folders="-m --model"
		files="--weights --tokens -o --output"
		values="--experts --top-k --layers --score --axes --image-token -t --threads"
		case $prev in
		--cpu) COMPREPLY=($(compgen -W 'c avx2 avx-vnni avx512 vnni amx' -- "$cur")) && return ;;
		esac
		;;
	moe-info)
		all="--json --tokens --spec --experts -l --layers --words -m --model --family -q --quiet -t --threads --cpu --help --version"
		folders="-m --model"
		files="--family"
		values="--tokens -l --layers --words -t --threads"
		case $prev in
		--cpu) COMPREPLY=($(compgen -W 'c avx2 avx-vnni avx512 vnni amx' -- "$cur")) && return ;;
		esac
		;;
	moe-merge)
		all="-l --layers -m --model --family -o --output --any-model --any-order --no-pg -q --quiet -t --threads --cpu --help --version"
		folders="-m --model"
		files="--family -o --output"
		values="-l --layers -t --threads"
		case $prev in
		--cpu) COMPREPLY=($(compgen -W 'c avx2 avx-vnni avx512 vnni amx' -- "$cur")) && return ;;
		esac
		;;
	moe-patchify)
		all="--source --max-image-size --split --frames --files-from -0 --null --no-sandbox -m --model --family -o --output --any-model --any-order --no-pg -q --quiet -t --threads --cpu --help --version"
		folders="-m --model"
		files="--files-from --family -o --output"
		values="--max-image-size --split --frames -t --threads"
		case $prev in
		--cpu) COMPREPLY=($(compgen -W 'c avx2 avx-vnni avx512 vnni amx' -- "$cur")) && return ;;
		esac
		;;
	moe-plot)
		all="-k --kind --picture --against -l --layers --modality --seq --tokens --format --json --tsv --color --width --scale -o --output -m --model --family --any-model --max-image-size --split --no-sandbox -q --quiet -t --threads --cpu --help --version"
		folders="-m --model"
		files="--picture --against -o --output --family"
		values="-k --kind -l --layers --seq --tokens --width --scale --max-image-size --split -t --threads"
		case $prev in
		--modality) COMPREPLY=($(compgen -W 'text image audio video other all' -- "$cur")) && return ;;
		--format) COMPREPLY=($(compgen -W 'text png svg html json tsv' -- "$cur")) && return ;;
		--color) COMPREPLY=($(compgen -W 'auto true 256 never' -- "$cur")) && return ;;
		--cpu) COMPREPLY=($(compgen -W 'c avx2 avx-vnni avx512 vnni amx' -- "$cur")) && return ;;
		esac
		;;
	moe-route)
		all="-l --layers -m --model --family -o --output --any-model --any-order --no-pg --drop --force --top-k --temperature --bias --mute --swap --batch-choice --causal-choice --stats --trace --trace-detail -q --quiet -t --threads --cpu --help --version"
		folders="-m --model"
		files="--family -o --output --bias --stats --trace"
		values="-l --layers --drop --force --top-k --temperature --mute --swap --batch-choice --causal-choice --trace-detail -t --threads"
		case $prev in
		--cpu) COMPREPLY=($(compgen -W 'c avx2 avx-vnni avx512 vnni amx' -- "$cur")) && return ;;
		esac
		;;
	moe-run)
		all="-p --prompt --prompts --chat --system --messages -i --interactive --score --score-lines -n --max-new --temperature --top-k --top-p --min-p --repetition-penalty --seed --stop --min-confidence --json --logprobs --image --stream --against --guidance --timings -H --with-names -h --no-names --batch --features --feature-cache --exec --exec-timeout --drop --force --route-top-k --route-temperature --bias --mute --swap --batch-choice --causal-choice --stats --trace --trace-detail --max-image-size --split --frames --files-from -0 --null --no-sandbox --any-memory -m --model --family --math -o --output -q --quiet -t --threads --cpu --help --version"
		folders="-m --model"
		files="--prompts --messages --score --image --bias --stats --trace --files-from --family -o --output"
		values="-p --prompt --system -n --max-new --temperature --top-k --top-p --min-p --repetition-penalty --seed --stop --min-confidence --logprobs --against --guidance --batch --features --feature-cache --exec --exec-timeout --drop --force --route-top-k --route-temperature --mute --swap --batch-choice --causal-choice --trace-detail --max-image-size --split --frames --math -t --threads"
		case $prev in
		--cpu) COMPREPLY=($(compgen -W 'c avx2 avx-vnni avx512 vnni amx' -- "$cur")) && return ;;
		esac
		;;
	moe-scale)
		all="--loss --arms --evaluations --law --huber --flops --hours --rate --coefficients --aspect --baseline --over --resamples --seed --svg --json --tsv -o --output -q --quiet -t --threads --cpu --help --version"
		folders=""
		files="--flops --coefficients --svg -o --output"
		values="--loss --arms --evaluations --huber --hours --rate --aspect --baseline --resamples --seed -t --threads"
		case $prev in
		--law) COMPREPLY=($(compgen -W 'dense sparse' -- "$cur")) && return ;;
		--over) COMPREPLY=($(compgen -W 'flops tokens seconds' -- "$cur")) && return ;;
		--cpu) COMPREPLY=($(compgen -W 'c avx2 avx-vnni avx512 vnni amx' -- "$cur")) && return ;;
		esac
		;;
	moe-splice)
		all="-l --layers --rows --what --expert --json --tsv --any-model -m --model --family -o --output -q --quiet -t --threads --cpu --help --version"
		folders="-m --model"
		files="--family -o --output"
		values="-l --layers --rows --what --expert -t --threads"
		case $prev in
		--cpu) COMPREPLY=($(compgen -W 'c avx2 avx-vnni avx512 vnni amx' -- "$cur")) && return ;;
		esac
		;;
	moe-stats)
		all="-l --layers --loads --coactivation --pairs --by --labels --saturation --top --attribution --sheet --picture --most --min-tokens --json --tsv -o --output --pass --apart --score --n-experts -m --model --family --any-model --no-pg --no-sandbox -q --quiet -t --threads --cpu --help --version"
		folders="-m --model"
		files="--labels --saturation --sheet --picture -o --output --family"
		values="-l --layers --by --top --most --min-tokens --score --n-experts -t --threads"
		case $prev in
		--cpu) COMPREPLY=($(compgen -W 'c avx2 avx-vnni avx512 vnni amx' -- "$cur")) && return ;;
		esac
		;;
	moe-synth)
		all="-n --number --split --seed --tasks --things -o --output --per-shard --first -j --jobs --sheet --words --fonts -q --quiet -t --threads --cpu --help --version"
		folders=""
		files="--tasks -o --output --sheet --fonts"
		values="-n --number --split --seed --things --per-shard --first -j --jobs -t --threads"
		case $prev in
		--cpu) COMPREPLY=($(compgen -W 'c avx2 avx-vnni avx512 vnni amx' -- "$cur")) && return ;;
		esac
		;;
	moe-tokenize)
		all="--for-each --chat --system --messages --raw --logits --generate --loop --window --frames --files-from -0 --null --no-sandbox -m --model --family --math -o --output --no-pg -q --quiet -t --threads --cpu --help --version"
		folders="-m --model"
		files="--for-each --messages --loop --files-from --family -o --output"
		values="--system --window --frames --math -t --threads"
		case $prev in
		--logits) COMPREPLY=($(compgen -W 'none last all' -- "$cur")) && return ;;
		--cpu) COMPREPLY=($(compgen -W 'c avx2 avx-vnni avx512 vnni amx' -- "$cur")) && return ;;
		esac
		;;
	moe-train)
		all="-r --recipe -o --output --new -m --model --family --tokens --batch --accumulate --optimiser --lr-muon --lr-adamw --lr-vision --warmup --decay --floor --weight-decay --clip --freeze --teacher --temperature --soft-loss --match --match-loss --text-loss --image-loss --draw --patch-loss --patch-layer --balance --z-loss --balance-groups --aux --calibrate --bias-rate --router-noise --rope-theta --text-tokens --augment --precision --seed --dev --dev-every --flips --dev-samples --checkpoint-every --keep --type --branch --decay-tokens --check-gradients --timings --no-sandbox --any-memory -q --quiet -t --threads --cpu --help --version"
		folders="-m --model --teacher"
		files="-r --recipe --new --family"
		values="-o --output --tokens --batch --accumulate --optimiser --lr-muon --lr-adamw --lr-vision --warmup --decay --floor --weight-decay --clip --freeze --temperature --soft-loss --match --match-loss --text-loss --image-loss --draw --patch-loss --patch-layer --balance --z-loss --balance-groups --calibrate --bias-rate --router-noise --rope-theta --text-tokens --augment --precision --seed --dev --dev-every --dev-samples --checkpoint-every --keep --type --branch --decay-tokens -t --threads"
		case $prev in
		--cpu) COMPREPLY=($(compgen -W 'c avx2 avx-vnni avx512 vnni amx' -- "$cur")) && return ;;
		esac
		;;
	moe-view)
		all="--json --tsv --frames -n --values -f --frame --npy --concat --check --seal --head --assume-complete -o --output -q --quiet -t --threads --cpu --help --version"
		folders=""
		files="--head -o --output"
		values="-n --values -f --frame --npy -t --threads"
		case $prev in
		--cpu) COMPREPLY=($(compgen -W 'c avx2 avx-vnni avx512 vnni amx' -- "$cur")) && return ;;
		esac
		;;
	esac
	case " $folders " in *" $prev "*) compopt -o filenames; COMPREPLY=($(compgen -d -- "$cur")); return ;; esac
	case " $values " in *" $prev "*) return ;; esac
	case " $files " in *" $prev "*) compopt -o filenames; COMPREPLY=($(compgen -f -- "$cur")); return ;; esac
	if [[ $cur == -* ]]; then
		COMPREPLY=($(compgen -W "$all" -- "$cur"))
	else
		compopt -o filenames
		COMPREPLY=($(compgen -f -- "$cur"))
	fi
}
complete -F _moe moe-ablate moe-attend moe-bench moe-block moe-convert moe-decode moe-diff moe-embed moe-encode moe-eval moe-expert moe-graft moe-import moe-info moe-merge moe-patchify moe-plot moe-route moe-run moe-scale moe-splice moe-stats moe-synth moe-tokenize moe-train moe-view

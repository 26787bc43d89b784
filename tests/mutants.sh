#!/bin/bash
# mutants.sh [OUT]: wrong optimisers and losses, each made from the sources by one change, against tests/golden/train: every one must be caught. OUT is the build's folder
# (build/release). A change that no longer fits its source is a failure, too.
set -u
cd "$(dirname "$0")/.." || exit 2
out=${1:-build/${MODE:-release}}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bad=0

libraries=(libarchive jansson libpcre2-8 libutf8proc libdeflate libxxhash zlib)
read -ra compile <<<"cc -std=c11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Ilib -O1 -ffp-contract=off -fPIE -pthread $(pkg-config --cflags "${libraries[@]}")"
read -ra libs <<<"$(pkg-config --libs "${libraries[@]}") -lm"

# mutant FILE NAME SED: the golden test with this file changed fails.
mutant() {
	local file=$1 name=$2 object=$work/${1##*/}
	sed -E "$3" "$file" >"$object"
	if cmp -s "$file" "$object"; then
		echo "$name: the change does not fit $file"
		bad=1
		return
	fi
	if ! "${compile[@]}" -c -o "$object.o" "$object" 2>"$work/log" ||
		! cc -pthread -pie -o "$work/run" "$out"/tests/golden/*.o "$object.o" "$out/libmoe.a" "${libs[@]}" 2>"$work/log"; then
		echo "$name: does not build"
		tail -n 5 "$work/log"
		bad=1
		return
	fi
	"$work/run" tests/golden/train >"$work/log" 2>&1
	if [ $? = 1 ]; then
		echo "caught: $name ($(grep -c ^FAIL "$work/log") differences)"
	else
		echo "NOT CAUGHT: $name"
		tail -n 3 "$work/log"
		bad=1
	fi
}

o=lib/train/optimiser.c
mutant $o 'no decay' 's/1 - s->adamw_rate \* s->weight_decay/1/'
mutant $o 'decay on the tensors of Muon, too' 's/moe_blend\(w, 1, w, -rate/moe_blend(w, (float)(1 - o->step->muon_rate * o->step->weight_decay), w, -rate/'
mutant $o 'decay on matrices alone' 's/(a = adamw_of\(.*\);)/\1 if (o->params->p[p->tensor].rows < 2) a.keep = 1;/'
mutant $o 'decay in the gradient' 's/(moe_adamw_update\(o->weights)/a.keep = 1; moe_blend((float *)(uintptr_t)o->gradient + p->at, 1, o->gradient + p->at, (float)o->step->weight_decay, o->weights + p->at, p->n); \1/'
mutant $o 'epsilon of 1e-6' 's/EPSILON = 1e-8/EPSILON = 1e-6/'
mutant $o 'beta2 of 0.999' 's/BETA2 = 0.98/BETA2 = 0.999/'
mutant $o 'no correction of the bias' 's/\(1 \/ \(1 - pow\(BETA[12], \(double\)t\)\)\)/1/g'
mutant $o 'a step count that lags' 's/adamw_of\(o->step, o->steps\[p->tensor\]\)/adamw_of(o->step, o->steps[p->tensor] + 1)/'
mutant $o 'Muon without its scale' 's/o->step->muon_rate \* sqrt\(.*\)\), \*w/o->step->muon_rate), *w/'
mutant $o 'four steps of Newton and Schulz' 's/NEWTON_STEPS = 5/NEWTON_STEPS = 4/'
mutant $o 'Muon on no matrices' 's/return o->step->kind == MOE_OPTIMISER_MUON \&\& o->params/return false \&\& o->params/; s/s->kind == MOE_OPTIMISER_MUON \&\& o->n_lanes/false/'
mutant $o 'Muon without Nesterov' 's/(moe_nesterov\(l->x, .*\);)/\1 memcpy(l->x, o->first + p->offset, p->count * sizeof *w);/'
mutant lib/train/net.c 'f of the balance loss with a gradient' 's/(n->pull_p\[l \* experts \+ e\] = \(float\)\(n->loss->balance \* \(double\)experts \* )f/\1(f + s->p[e] \/ rows)/'
mutant lib/train/net.c 'balance as a mean over layers' 's/(out->balance \+= \(double\)experts \* f)/\1 \/ (double)n->spec->n_layers/'
mutant lib/train/net.c 'z loss without its factor 2' 's/n->loss->z \/ rows/n->loss->z \/ rows \/ 2/'
mutant lib/train/net.c 'text loss by all rows' 's/n->text_weight > 0 \? out->text \/ n->text_weight/n->text_weight > 0 ? out->text \/ (double)n->rows/'
mutant lib/grad/router_grad.c 'z loss of the logits, not squared' 's/sums->z \+= \(double\)lse\[r\] \* \(double\)lse\[r\]/sums->z += (double)lse[r]/'
mutant lib/grad/head_grad.c 'a loss without its weight' 's/loss -= \(double\)t->weight\[at\] \* \(double\)logprob/loss -= (double)logprob * 1.01/'
exit $bad

#!/bin/bash
# mutants.sh [OUT]: wrong optimisers, losses and routers, each made from the sources by one change, against tests/golden/train and routing: every one must be caught. OUT is the build's folder
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
	"$work/run" tests/golden/{train,routing} >"$work/log" 2>&1
	if [ $? = 1 ]; then
		echo "caught: $name ($(grep -c ^FAIL "$work/log") differences)"
	else
		echo "NOT CAUGHT: $name"
		tail -n 3 "$work/log"
		bad=1
	fi
}

o=lib/train/optimiser.c
mutant $o 'no decay' 's/1 - adamw_rate \* s->weight_decay/1/'
mutant $o 'decay on the tensors of Muon, too' 's/moe_blend\(w, 1, w, -rate/moe_blend(w, (float)(1 - o->step->muon_rate * o->step->weight_decay), w, -rate/'
mutant $o 'decay on matrices alone' 's/(a = adamw_of\(.*\);)/\1 if (o->params->p[p->tensor].rows < 2) a.keep = 1;/'
mutant $o 'decay in the gradient' 's/(moe_adamw_update\(o->weights)/a.keep = 1; moe_blend((float *)(uintptr_t)o->gradient + p->at, 1, o->gradient + p->at, (float)o->step->weight_decay, o->weights + p->at, p->n); \1/'
mutant $o 'epsilon of 1e-6' 's/EPSILON = 1e-8/EPSILON = 1e-6/'
mutant $o 'beta2 of 0.999' 's/BETA2 = 0.98/BETA2 = 0.999/'
mutant $o 'no correction of the bias' 's/\(1 \/ \(1 - pow\(BETA[12], \(double\)t\)\)\)/1/g'
mutant $o 'a step count that lags' 's/o->steps\[p->tensor\], factor_of/o->steps[p->tensor] + 1, factor_of/'
mutant $o 'Muon without its scale' 's/o->step->muon_rate \* sqrt\(.*\)\), \*w/o->step->muon_rate), *w/'
mutant $o 'four steps of Newton and Schulz' 's/NEWTON_STEPS = 5/NEWTON_STEPS = 4/'
mutant $o 'Muon on no matrices' 's/return o->step->kind == MOE_OPTIMISER_MUON \&\& o->params/return false \&\& o->params/; s/s->kind == MOE_OPTIMISER_MUON \&\& o->n_lanes/false/'
mutant $o 'Muon without Nesterov' 's/(moe_nesterov\(l->x, .*\);)/\1 memcpy(l->x, o->first + p->offset, p->count * sizeof *w);/'
mutant lib/train/net.c 'balance as a mean over layers' 's/(n->loss->balance_groups, n->loss->balance\));/\1 \/ (double)n->spec->n_layers;/'
mutant lib/train/net.c 'z loss without its factor 2' 's/n->loss->z \/ rows/n->loss->z \/ rows \/ 2/'
mutant lib/train/net.c 'text loss by all rows' 's/n->text_weight > 0 \? out->text \/ n->text_weight/n->text_weight > 0 ? out->text \/ (double)n->rows/'
r=lib/grad/router_grad.c
mutant $r 'f of the balance loss with a gradient' 's/(factor \* \(double\)units \* )f/\1(f + p)/'
mutant $r 'z loss of the logits, not squared' 's/sums->z \+= \(double\)r->lse\[row\] \* \(double\)r->lse\[row\]/sums->z += (double)r->lse[row]/'
mutant $r 'balance of a pool by the rows of all' 's/rows \+= s->pools.n && m != pool \? 0 : /rows += /'
mutant $r 'balance of all pools as of one' 's/^(.*size = )s->pools.n \? .*pools.size\[pool\] : n,/\1n,/; s/!s->pools.n \|\| s->pools.of\[e\] == pool/true || pool/'
mutant $r 'sigmoid without its slope' 's/p\[e\] \* \(1 - p\[e\]\) \* \(dlogit/p[e] * (dlogit/'
mutant $r 'softmax without the mean' 's/p\[e\] \* \(dlogit\[e\] - mean/p[e] * (dlogit[e] - 0 * mean/'
mutant $r 'renormalised weights as if each were alone' 's/scale \* \(dw\[i\] - mean\)/scale * dw[i]/'
mutant $r 'noise of one Gumbel variable' 's/moe_log\(u\) - moe_log\(1 - u\)/-moe_log(-moe_log(u))/'
mutant $r 'weights of the logits without noise' 's/noise \? z\[e\] \+ noise\[i \* n \+ e\] : z\[e\]/z[e]/'
d=lib/grad/depth_grad.c
mutant $d 'depth without a gradient for its router' 's/dlogit\[i\] = \(float\)sum \* g/dlogit[i] = 0 * (float)sum * g/'
mutant $d 'depth whose score is no share' 's/to\[j\] = g \* d\[j\]/to[j] = d[j]/'
mutant $d 'depth that adds, and does not replace' 's/to\[j\] - from\[j\]/to[j]/'
a=lib/grad/aux_grad.c
mutant $a 'auxiliary routers without silu' 's/moe_silu_backward\(MOE_UNIT_F32, r.z, r.dact, r.kept, rows \* inner\)/r.z = r.dact/'
mutant $a 'auxiliary routers towards 0.5' 's/s - \(float\)target\[i\]/s - 0.5f/'
mutant lib/train/balance.c 'a bias that follows the load' 's/own < all \? rate : own > all \? -rate : 0/own < all ? -rate : own > all ? rate : 0/'
mutant lib/nn/router.c 'capacity rounded down' 's/capacity \/ \(double\)experts \+ 0.5/capacity \/ (double)experts/'
mutant lib/grad/head_grad.c 'a loss without its weight' 's/loss -= \(double\)t->weight\[at\] \* \(double\)logprob/loss -= (double)logprob * 1.01/'
exit $bad

#include "common/memory.h"

#include "common/choosing.h"
#include "model/math.h"
#include "model/plan.h"
#include "sys/memory.h"

bool memory_any;

void memory_check(const struct moe_model *m, const struct moe_image_choice *image, const struct moe_prompt_ids *prompt, size_t n_pictures, size_t max_new,
		  size_t sequences)
{
	struct moe_image_plan plan = {0};
	struct moe_plan_options o = {.tokens = prompt->n + max_new, .sequences = sequences, .whole = choosing_options.batch};
	struct moe_diag d = {0};
	struct moe_plan p;
	uint64_t room = moe_memory_available();

	if (n_pictures) {
		cli_check(moe_plan_from_spec(&plan, m->spec, image, &d), &d);
		o.tokens += n_pictures * moe_plan_most_features(&plan, m->spec);
		o.patches = moe_plan_most_patches(&plan);
	}
	cli_check(moe_plan_make(&p, m, &o, &d), &d);
	if (!memory_any && p.total > room)
		cli_fail("%.2f GB of memory are needed (weights %.2f, caches of %llu sequences of up to %llu tokens %.2f, working memory %.2f), but %.2f GB are available "
			 "(fewer tokens: -n; fewer sequences at once: %s; --any-memory begins all the same)",
			 (double)p.total / 1e9, (double)p.weights / 1e9, (unsigned long long)sequences, (unsigned long long)o.tokens, (double)p.cache / 1e9,
			 (double)p.scratch / 1e9, (double)room / 1e9, choosing_options.batch ? "--batch-choice" : "--batch, -t");
}

void memory_use_math(struct moe_model *m, struct moe_pool *pool)
{
	struct moe_math_range whole = moe_math_whole(m);
	uint64_t need = cli_math(m) == MOE_MATH_FAST && !m->packfile ? moe_math_nbytes(m, &whole) : 0, room = moe_memory_available();
	struct moe_diag d = {0};

	if (!memory_any && need > room)
		cli_fail("%.2f GB of memory are needed for packed weights, but %.2f GB are available (--math exact reads the model in place, which is slower; moe-convert --pack "
			 "packs it once, into a file; --any-memory begins all the same)", (double)need / 1e9, (double)room / 1e9);
	cli_check(moe_model_use_math(m, cli_math(m), &whole, pool, &d), &d);
	if (!cli.quiet && m->math == MOE_MATH_FAST && !m->packed && !m->packfile)
		cli_say("--math fast: this processor has fast products for none of the model's types and sizes, and computes exactly");
}

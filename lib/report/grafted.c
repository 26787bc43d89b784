#include "report/grafted.h"

#include <string.h>

#include "report/escape.h"

static const char *const claims[] = {[MOE_GRAFT_BITS] = "bits", [MOE_GRAFT_NUMBERS] = "rounding", [MOE_GRAFT_OTHER] = "other",
				     [MOE_GRAFT_UNCHECKED] = "unchecked"};

static void print_check(FILE *f, const struct moe_graft_check *c)
{
	if (c->claim == MOE_GRAFT_UNCHECKED) {
		fputs("check            outputs were not compared\n", f);
		return;
	}
	fprintf(f, "check            %zu rows: ", c->rows);
	if (c->same_bits)
		fputs("the same outputs, bit for bit\n", f);
	else if (c->claim == MOE_GRAFT_NUMBERS)
		fprintf(f, "the same outputs but for rounding (%.2g)\n", c->difference);
	else
		fprintf(f, "other outputs (relative change %.3g, the same token in %.1f %%): %s\n", c->difference, 100 * c->agree, c->why ? c->why : "");
}

static void print_object(FILE *f, enum moe_graft_operation o, const struct moe_graft_check *c, const struct moe_converted *sums, const char *output)
{
	bool checked = c->claim != MOE_GRAFT_UNCHECKED;
	json_t *v = json_pack("{ss so sI sI ss}", "operation", moe_graft_name(o), "output", moe_json_text(output, strlen(output)), "tensors",
			      (json_int_t)sums->all.tensors, "parameters", (json_int_t)sums->all.parameters, "claim", claims[c->claim]);

	if (checked)
		json_object_update_new(v, json_pack("{sI sb sf sf}", "rows", (json_int_t)c->rows, "same_bits", c->same_bits, "relative_change", c->difference,
						    "same_token", c->agree));
	moe_print_json(f, v);
}

void moe_grafted_print(FILE *f, bool json, enum moe_graft_operation o, const struct moe_graft_check *c, const struct moe_converted *sums, const char *output)
{
	if (json) {
		print_object(f, o, c, sums, output);
		return;
	}
	fprintf(f, "%-16s %s: %llu tensors, %llu parameters, %llu bytes\n", moe_graft_name(o), output, (unsigned long long)sums->all.tensors,
		(unsigned long long)sums->all.parameters, (unsigned long long)sums->all.nbytes);
	print_check(f, c);
}
